"""Tokenizers, chat templates and data sets, and what transformers and TRL 1.16 make of them.

fixtures/tokenizers/NAME   small tokenizer folders, trained here
fixtures/templates.json    chat templates × conversations → text (or an error)
fixtures/data.json         lines of data files → TRL's prompt and completion tokens
"""

import json
import pathlib
import shutil
import types

from datasets import Dataset
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoTokenizer
from trl import DPOTrainer, KTOConfig, KTOTrainer, DPOConfig

FIXTURES = pathlib.Path(__file__).resolve().parent.parent / "fixtures"

CORPUS = [
    "The sky is blue, the sea is green and the sun is warm.",
    "What is the capital of France? The capital of France is Paris.",
    "Two and two are four; 2 + 2 = 4, and 12 + 30 = 42.",
    "It isn't what you'd say, it's how you say it: «naïve café», 東京, 😀.",
    "def add(a, b):\n    return a + b\n",
] * 20

# Templates in the manner of well-known models, each with features that they use.
TEMPLATES = {
    "chatml": (
        "{% for message in messages %}"
        "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}"
        "{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
    ),
    "llama3": (
        "{{- bos_token }}\n"
        "{%- if not date_string is defined %}\n"
        "    {%- if strftime_now is defined %}\n"
        "        {%- set date_string = strftime_now('%d %b %Y') %}\n"
        "    {%- else %}\n"
        "        {%- set date_string = '26 Jul 2024' %}\n"
        "    {%- endif %}\n"
        "{%- endif %}\n"
        "{%- if messages[0]['role'] == 'system' %}\n"
        "    {%- set system_message = messages[0]['content'] | trim %}\n"
        "    {%- set messages = messages[1:] %}\n"
        "{%- else %}\n"
        "    {%- set system_message = '' %}\n"
        "{%- endif %}\n"
        "{{- '<|start_header_id|>system<|end_header_id|>\\n\\n' }}\n"
        "{%- if tools is not none %}\n"
        "    {{- 'Environment: ipython\\n' }}\n"
        "{%- endif %}\n"
        "{{- 'Today Date: ' + date_string + '\\n\\n' }}\n"
        "{%- if tools is not none %}\n"
        "    {%- for t in tools %}\n"
        "        {{- t | tojson(indent=4) }}\n"
        "        {{- '\\n\\n' }}\n"
        "    {%- endfor %}\n"
        "{%- endif %}\n"
        "{{- system_message }}\n"
        "{{- '<|eot_id|>' }}\n"
        "{%- for message in messages %}\n"
        "    {%- if not (message.role == 'ipython' or message.role == 'tool' or 'tool_calls' in message) %}\n"
        "        {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' + message['content'] | trim + '<|eot_id|>' }}\n"
        "    {%- elif 'tool_calls' in message %}\n"
        "        {%- if not message.tool_calls | length == 1 %}\n"
        "            {{- raise_exception('This model only supports single tool-calls at once!') }}\n"
        "        {%- endif %}\n"
        "        {%- set tool_call = message.tool_calls[0].function %}\n"
        "        {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' -}}\n"
        "        {{- '{\"name\": \"' + tool_call.name + '\", ' }}\n"
        "        {{- '\"parameters\": ' }}\n"
        "        {{- tool_call.arguments | tojson }}\n"
        "        {{- '}' }}\n"
        "        {{- '<|eot_id|>' }}\n"
        "    {%- else %}\n"
        "        {{- '<|start_header_id|>ipython<|end_header_id|>\\n\\n' }}\n"
        "        {%- if message.content is mapping or message.content is iterable and message.content is not string %}\n"
        "            {{- message.content | tojson }}\n"
        "        {%- else %}\n"
        "            {{- message.content }}\n"
        "        {%- endif %}\n"
        "        {{- '<|eot_id|>' }}\n"
        "    {%- endif %}\n"
        "{%- endfor %}\n"
        "{%- if add_generation_prompt %}\n"
        "    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}\n"
        "{%- endif %}\n"
    ),
    "qwen3": (
        "{%- if tools %}\n"
        "    {{- '<|im_start|>system\\n' }}\n"
        "    {%- if messages[0].role == 'system' %}\n"
        "        {{- messages[0].content + '\\n\\n' }}\n"
        "    {%- endif %}\n"
        "    {{- \"# Tools\\n\\n<tools>\" }}\n"
        "    {%- for tool in tools %}\n"
        "        {{- \"\\n\" }}\n"
        "        {{- tool | tojson }}\n"
        "    {%- endfor %}\n"
        "    {{- \"\\n</tools><|im_end|>\\n\" }}\n"
        "{%- else %}\n"
        "    {%- if messages[0].role == 'system' %}\n"
        "        {{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}\n"
        "    {%- endif %}\n"
        "{%- endif %}\n"
        "{%- set ns = namespace(multi_step_tool=true, last_query_index=messages|length - 1) %}\n"
        "{%- for message in messages[::-1] %}\n"
        "    {%- set index = (messages|length - 1) - loop.index0 %}\n"
        "    {%- if ns.multi_step_tool and message.role == \"user\" and message.content is string and not(message.content.startswith('<tool_response>') and message.content.endswith('</tool_response>')) %}\n"
        "        {%- set ns.multi_step_tool = false %}\n"
        "        {%- set ns.last_query_index = index %}\n"
        "    {%- endif %}\n"
        "{%- endfor %}\n"
        "{%- for message in messages %}\n"
        "    {%- if message.content is string %}\n"
        "        {%- set content = message.content %}\n"
        "    {%- else %}\n"
        "        {%- set content = '' %}\n"
        "    {%- endif %}\n"
        "    {%- if (message.role == \"user\") or (message.role == \"system\" and not loop.first) %}\n"
        "        {{- '<|im_start|>' + message.role + '\\n' + content + '<|im_end|>' + '\\n' }}\n"
        "    {%- elif message.role == \"assistant\" %}\n"
        "        {%- set reasoning_content = '' %}\n"
        "        {%- if message.reasoning_content is string %}\n"
        "            {%- set reasoning_content = message.reasoning_content %}\n"
        "        {%- else %}\n"
        "            {%- if '</think>' in content %}\n"
        "                {%- set reasoning_content = content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}\n"
        "                {%- set content = content.split('</think>')[-1].lstrip('\\n') %}\n"
        "            {%- endif %}\n"
        "        {%- endif %}\n"
        "        {%- if loop.index0 > ns.last_query_index %}\n"
        "            {%- if loop.last or (not loop.last and reasoning_content) %}\n"
        "                {{- '<|im_start|>' + message.role + '\\n<think>\\n' + reasoning_content.strip('\\n') + '\\n</think>\\n\\n' + content.lstrip('\\n') }}\n"
        "            {%- else %}\n"
        "                {{- '<|im_start|>' + message.role + '\\n' + content }}\n"
        "            {%- endif %}\n"
        "        {%- else %}\n"
        "            {{- '<|im_start|>' + message.role + '\\n' + content }}\n"
        "        {%- endif %}\n"
        "        {%- if message.tool_calls %}\n"
        "            {%- for tool_call in message.tool_calls %}\n"
        "                {%- if (loop.first and content) or (not loop.first) %}\n"
        "                    {{- '\\n' }}\n"
        "                {%- endif %}\n"
        "                {%- if tool_call.function %}\n"
        "                    {%- set tool_call = tool_call.function %}\n"
        "                {%- endif %}\n"
        "                {{- '<tool_call>\\n{\"name\": \"' }}\n"
        "                {{- tool_call.name }}\n"
        "                {{- '\", \"arguments\": ' }}\n"
        "                {%- if tool_call.arguments is string %}\n"
        "                    {{- tool_call.arguments }}\n"
        "                {%- else %}\n"
        "                    {{- tool_call.arguments | tojson }}\n"
        "                {%- endif %}\n"
        "                {{- '}\\n</tool_call>' }}\n"
        "            {%- endfor %}\n"
        "        {%- endif %}\n"
        "        {{- '<|im_end|>\\n' }}\n"
        "    {%- elif message.role == \"tool\" %}\n"
        "        {%- if loop.first or (messages[loop.index0 - 1].role != \"tool\") %}\n"
        "            {{- '<|im_start|>user' }}\n"
        "        {%- endif %}\n"
        "        {{- '\\n<tool_response>\\n' }}\n"
        "        {{- content }}\n"
        "        {{- '\\n</tool_response>' }}\n"
        "        {%- if loop.last or (messages[loop.index0 + 1].role != \"tool\") %}\n"
        "            {{- '<|im_end|>\\n' }}\n"
        "        {%- endif %}\n"
        "    {%- endif %}\n"
        "{%- endfor %}\n"
        "{%- if add_generation_prompt %}\n"
        "    {{- '<|im_start|>assistant\\n' }}\n"
        "    {%- if enable_thinking is defined and enable_thinking is false %}\n"
        "        {{- '<think>\\n\\n</think>\\n\\n' }}\n"
        "    {%- endif %}\n"
        "{%- endif %}"
    ),
    "mistral": (
        "{%- if messages[0][\"role\"] == \"system\" %}\n"
        "    {%- set system_message = messages[0][\"content\"] %}\n"
        "    {%- set loop_messages = messages[1:] %}\n"
        "{%- else %}\n"
        "    {%- set loop_messages = messages %}\n"
        "{%- endif %}\n"
        "{%- set user_messages = loop_messages | selectattr(\"role\", \"equalto\", \"user\") | list %}\n"
        "{{- bos_token }}\n"
        "{%- for message in loop_messages %}\n"
        "    {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}\n"
        "        {{- raise_exception('After the optional system message, conversation roles must alternate user/assistant/user/assistant/...') }}\n"
        "    {%- endif %}\n"
        "    {%- if message[\"role\"] == \"user\" %}\n"
        "        {%- if loop.last and system_message is defined %}\n"
        "            {{- \"[INST] \" + system_message + \"\\n\\n\" + message[\"content\"] + \"[/INST]\" }}\n"
        "        {%- else %}\n"
        "            {{- \"[INST] \" + message[\"content\"] + \"[/INST]\" }}\n"
        "        {%- endif %}\n"
        "    {%- elif message[\"role\"] == \"assistant\" %}\n"
        "        {{- \" \" + message[\"content\"] | trim + eos_token }}\n"
        "    {%- endif %}\n"
        "{%- endfor %}\n"
    ),
    "features": (
        # White space, lines, macros, generation marks, loop controls, filters, printing of None and booleans.
        "  {# a comment #}\n"
        "{% macro turn(role, text='-') %}<{{ role }}>{{ text }}</{{ role }}>{% endmacro %}\n"
        "{% for message in messages %}\n"
        "  {% if message.role == 'skip' %}{% continue %}{% endif %}\n"
        "  {% if message.role == 'stop' %}{% break %}{% endif %}\n"
        "    {%- if message.role == 'assistant' -%}\n"
        "{% generation %}\n"
        "{{ turn(message.role, message.content | upper) }}\n"
        "{% endgeneration %}\n"
        "    {%- else -%}\n"
        "{{ turn(message.role, message.content if message.content is string else message.content[0].text) }}\n"
        "    {%- endif %}\n"
        "{{ loop.first }}{{ none }}{{ missing }}{{ loop.index }}/{{ loop.length }}\n"
        "{% endfor %}\n"
        "{% for key, value in {'a': 1, 'b': [1, 2]}.items() %}{{ key }}={{ value }};{% endfor %}\n"
        "{{ ['x', 'y'] | join(', ') }} {{ 'a b'.title() }} {{ 'abc'[::-1] }} {{ 7 // 2 }} {{ 7 % 4 }} {{ 1.0 }}\n"
        "{{ messages | map(attribute='role') | list | tojson }} {{ {'k': 'é<&>', 'n': none} | tojson }}\n"
        "{{ ('x' ~ 1) | replace('x', 'y') }} {{ '%s-%d' | format('s', 3) }} {{ 'a,b'.split(',') | length }}\n"
        "{{ messages | length > 1 and 'many' or 'one' }} {{ (messages | last).role }} {{ 'ab' in 'cabd' }} {{ [1, 2][-1] }}\n\n"
    ),
}

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "description": "Weather <now> & \"later\" in a città",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}, "days": {"default": 1.5, "x": None}}, "required": ["city"]},
        },
    }
]

USER = {"role": "user", "content": "What color is the sky?"}
SYSTEM = {"role": "system", "content": "  Be brief.\n"}
ASSISTANT = {"role": "assistant", "content": "It is blue. "}
THOUGHT = {"role": "assistant", "content": "<think>\nhm\n</think>\n\nBlue."}
REASONED = {"role": "assistant", "content": "Blue.", "reasoning": "hm\n"}
AGAIN = {"role": "user", "content": "Why? <&> \"é\" {{ x }}"}
CALL = {
    "role": "assistant",
    "content": None,
    "tool_calls": [{"type": "function", "function": {"name": "weather", "arguments": {"city": "東京", "days": 2}}}],
}
RESULT = {"role": "tool", "content": "{\"rain\": true}"}
PARTS = {"role": "user", "content": [{"type": "text", "text": "parts"}]}

CONVERSATIONS = {
    "one": [USER],
    "answered": [USER, ASSISTANT],
    "system": [SYSTEM, USER, ASSISTANT, AGAIN],
    "thought": [USER, THOUGHT],
    "reasoned": [USER, REASONED, AGAIN, REASONED],
    "call": [USER, CALL, RESULT],
    "called": [USER, CALL, RESULT, ASSISTANT],
    "parts": [PARTS],
    "wrong": [ASSISTANT, USER],
    "controls": [USER, {"role": "skip", "content": "x"}, ASSISTANT, {"role": "stop", "content": "y"}, AGAIN],
}


def byte_level(folder):
    """GPT-2's kind, as Qwen and Llama 3 have it; no token is put before a text."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=420,
        special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    save(folder, tokenizer, {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>", "bos_token": None}, TEMPLATES["chatml"])


def sentence_piece(folder):
    """Llama 2's and Mistral's kind: spaces are visible characters, a text begins with one, and with `<s>`."""
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=460,
        special_tokens=["<unk>", "<s>", "</s>"] + [f"<0x{byte:02X}>" for byte in range(256)],
        show_progress=False,
        max_token_length=8,
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", tokenizer.token_to_id("<s>"))]
    )
    # Byte tokens are no special tokens: they must show when decoded.
    state = json.loads(tokenizer.to_str())
    state["added_tokens"] = [token for token in state["added_tokens"] if not token["content"].startswith("<0x")]
    tokenizer = Tokenizer.from_str(json.dumps(state))
    save(
        folder,
        tokenizer,
        {"bos_token": "<s>", "eos_token": {"__type": "AddedToken", "content": "</s>", "lstrip": False, "normalized": False, "rstrip": False, "single_word": False}, "unk_token": "<unk>"},
        TEMPLATES["mistral"],
    )


def save(folder, tokenizer, config, template):
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "chat_template": template, **config}
    (folder / "tokenizer_config.json").write_text(json.dumps(config, ensure_ascii=False, indent=1) + "\n")


def templates(tokenizer):
    tokens = {"bos_token": "<|endoftext|>", "eos_token": "<|im_end|>"}
    tokenizer.add_special_tokens(tokens)
    cases = []
    for name, template in TEMPLATES.items():
        for title, messages in CONVERSATIONS.items():
            # Llama's template would print the list of parts as Python does: a mistake there, and nothing to imitate.
            if (name, title) == ("llama3", "parts"):
                continue
            for tools in [None, TOOLS] if name in ("llama3", "qwen3") else [None]:
                for generation in [True, False]:
                    kwargs = {"enable_thinking": False} if name == "qwen3" and title == "one" else {}
                    if name == "llama3":
                        kwargs["date_string"] = "04 Oct 2024"
                    case = {
                        "name": f"{name}/{title}" + ("/tools" if tools else "") + ("/open" if generation else ""),
                        "template": name,
                        "messages": messages,
                        "tools": tools,
                        "variables": kwargs,
                        "add_generation_prompt": generation,
                    }
                    try:
                        case["text"] = tokenizer.apply_chat_template(
                            messages, chat_template=template, tools=tools, tokenize=False, add_generation_prompt=generation, **kwargs
                        )
                    except Exception as error:
                        case["error"] = str(error)
                    cases.append(case)
    write("templates.json", {"tokens": tokens, "templates": TEMPLATES, "cases": cases})


# Prompts that end in the middle of a word, with a space, with nothing; completions that begin with all of these.
UNPAIRED = [
    {"prompt": prompt, "completion": completion, "label": len(completion) % 2 == 0}
    for prompt in ["The sky is", "The sky is ", "What is the capi", "2 + 2 = ", "def add(a, b):\n", "naïve caf", "東京 is", "It isn't"]
    for completion in [" blue.", "blue", "tal of France?", "4", "    return a + b\n", "é», 😀.", "EOS", " green and the sun is warm."]
]
CHATS = [
    {"prompt": prompt, "completion": [{"role": "assistant", "content": completion}], "label": label}
    for prompt in [
        [{"role": "user", "content": "What color is the sky?"}],
        [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "2 + 2 = "}],
        [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}],
    ]
    for completion, label in [("It is blue.", True), ("4", False), (" green 😀", True)]
]
PAIRS = [
    {"prompt": "The sky is", "chosen": " blue.", "rejected": " green."},
    {"prompt": "The sky is ", "chosen": "blue", "rejected": " green."},
    {"prompt": "What is the capi", "chosen": "tal of France?", "rejected": " 4"},
]
IMPLICIT_TEXT = [
    {"chosen": "Human: sky? Assistant: It is blue.", "rejected": "Human: sky? Assistant: It is green and warm."},
    {"chosen": "The sun is warm", "rejected": "The sky is blue"},
]
IMPLICIT_CHATS = [
    {
        "chosen": [{"role": "user", "content": "sky?"}, {"role": "assistant", "content": "blue"}],
        "rejected": [{"role": "user", "content": "sky?"}, {"role": "assistant", "content": "green"}],
    }
]


def data(name, tokenizer):
    eos = tokenizer.eos_token
    unpaired = [{**line, "completion": line["completion"].replace("EOS", "the sea" + eos)} for line in UNPAIRED]
    sets = {"unpaired": unpaired, "chats": CHATS, "pairs": PAIRS, "implicit_text": IMPLICIT_TEXT, "implicit_chats": IMPLICIT_CHATS}
    for title, lines in sets.items():
        for trainer in ["kto", "dpo"]:
            if trainer == "dpo" and "label" in lines[0]:
                continue
            # The mapping functions need only the tokenizer of their trainer.
            shell = types.SimpleNamespace(_tokenizer=tokenizer, calculate_KL=False, desirable_weight=1.0, undesirable_weight=1.0)
            cls, config = (KTOTrainer, KTOConfig) if trainer == "kto" else (DPOTrainer, DPOConfig)
            args = config(output_dir="unused", max_length=None, use_cpu=True, bf16=False, report_to=[])
            prepared = cls._prepare_dataset(shell, Dataset.from_list(lines), tokenizer, args, "train")
            rows = [
                {key: row[key] for key in ("prompt_ids", "completion_ids", "label", "chosen_ids", "rejected_ids") if key in row}
                for row in prepared
            ]
            yield {"tokenizer": name, "name": f"{name}/{title}/{trainer}", "paired": trainer == "dpo", "lines": lines, "rows": rows}


def write(name, value):
    (FIXTURES / name).write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n")


def main():
    folders = {"byte-level": byte_level, "sentence-piece": sentence_piece}
    sets = []
    for name, make in folders.items():
        folder = FIXTURES / "tokenizers" / name
        make(folder)
        tokenizer = AutoTokenizer.from_pretrained(folder)
        sets.extend(data(name, tokenizer))
    write("data.json", sets)
    templates(AutoTokenizer.from_pretrained(FIXTURES / "tokenizers" / "byte-level"))


if __name__ == "__main__":
    main()
