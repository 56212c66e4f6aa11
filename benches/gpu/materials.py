"""Models, adapters and data of the comparison: random weights, random tokens, log-normal lengths, fixed seeds."""

import random
import sys

import plan
from inputs import EOS, draw_ids, draw_length, write_rows

NOISE = 0.05  # of each tensor's own spread: policy and reference differ, or the first losses would be a constant


def make_models(folder, name, device, dtype):
    """`reference`, `policy` (the reference with noise) and `adapter` (LoRA over the reference), saved once."""
    import torch
    from transformers import AutoModelForCausalLM, LlamaConfig, Qwen2Config
    from transformers.utils import logging

    if (folder / "done").exists():
        return
    logging.disable_progress_bar()
    shape = dict(plan.MODELS[name])
    config = {"llama": LlamaConfig, "qwen2": Qwen2Config}[shape.pop("kind")](
        **shape, max_position_embeddings=32768, tie_word_embeddings=True, pad_token_id=0, bos_token_id=1, eos_token_id=EOS
    )
    torch.manual_seed(0)
    with torch.device(device):
        model = AutoModelForCausalLM.from_config(config, dtype=dtype)
    print(f"{name}: {sum(p.numel() for p in model.parameters()):,} parameters", file=sys.stderr)
    model.save_pretrained(folder / "reference")
    make_adapter(model, folder, device)
    model = AutoModelForCausalLM.from_pretrained(folder / "reference", dtype=dtype).to(device)
    with torch.no_grad():
        for parameter in model.parameters():
            spread = parameter.float().std()
            parameter.add_(torch.randn_like(parameter) * (NOISE * spread).to(parameter.dtype))
    model.save_pretrained(folder / "policy")
    (folder / "done").touch()


def make_adapter(model, folder, device):
    """Both halves random: a fresh adapter (B = 0) would hide a wrong order of the halves, or a wrong scale."""
    import torch
    from peft import LoraConfig, get_peft_model

    model.name_or_path = str(folder / "reference")  # peft writes it into adapter_config.json
    names = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    lora = LoraConfig(r=plan.LORA_RANK, lora_alpha=2 * plan.LORA_RANK, target_modules=names, task_type="CAUSAL_LM")
    wrapped = get_peft_model(model, lora)
    wrapped.peft_config["default"].base_model_name_or_path = str(folder / "reference")
    with torch.no_grad():
        for name, parameter in wrapped.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.005)
    wrapped.save_pretrained(folder / "adapter")


def make_prompts(measurement, count, seed, lengths=None):
    """`count` prompts with their judged completions: [(prompt_ids, [completion_ids])]. `lengths` fixes them."""
    prompt_mean, completion_mean, _ = plan.SHAPES[measurement.shape]
    vocab = plan.MODELS[measurement.model]["vocab_size"]
    generator = random.Random(f"{measurement.name} {seed}")
    width = 2 if measurement.loss == "dpo" else measurement.siblings
    made = []
    for i in range(count):
        if lengths:
            prompt, many = lengths[i]
        else:
            prompt = draw_length(generator, prompt_mean)
            many = [draw_length(generator, completion_mean) for _ in range(width)]
        made.append(
            (draw_ids(generator, prompt, vocab), [draw_ids(generator, n - 1, vocab) + [EOS] for n in many])
        )
    return made


def size(entry):
    return len(entry[0]) + max(map(len, entry[1]))


def make_files(folder, measurement, batch):
    """Two files, in random order and sorted by length; → {"file": [rows], "sorted": [rows]}, warm-up first in both."""
    folder.mkdir(parents=True, exist_ok=True)
    per_step = measurement.units // measurement.siblings
    timed = make_prompts(measurement, per_step * measurement.steps, seed=0)
    ranked = sorted(timed, key=size)
    count = per_step * measurement.warmup
    start = max(0, (len(ranked) - count) // 2)
    # Middling lengths, so that warm-up never decides the peak of memory: the timed rows do.
    middle = [ranked[start + i % (len(ranked) - start)] for i in range(count)]
    warm = make_prompts(measurement, count, seed=1, lengths=[(len(p), [len(c) for c in cs]) for p, cs in middle])
    rows = {}
    for order, entries in [("file", timed), ("sorted", ranked)]:
        rows[order] = as_rows(measurement, warm + entries, batch)
        write_rows(folder / f"{order}.jsonl", rows[order])
    return rows


def as_rows(measurement, entries, batch):
    """Siblings stand in one batch, but never side by side: TRL pairs each prompt with its neighbour's completion."""
    if measurement.loss == "dpo":
        return [dict(prompt_ids=p, chosen_ids=cs[0], rejected_ids=cs[1]) for p, cs in entries]
    labels = random.Random(f"{measurement.name} labels")
    rows, width = [], batch // measurement.siblings
    for begin in range(0, len(entries), width):
        for i in range(measurement.siblings):
            for prompt, many in entries[begin : begin + width]:
                rows.append(dict(prompt_ids=prompt, completion_ids=many[i], label=labels.random() < 0.5))
    return rows


def in_batches(rows, batch):
    return [rows[i : i + batch] for i in range(0, len(rows), batch)]


def fitting_batch(measurement, memory):
    """The largest batch that the tuned peer should be able to hold; the same for all, since it decides KTO's z₀.

    What transformers keeps per token and block, in bf16 and without checkpointing: inputs of the products, both norms in f32,
    queries and keys before and after rotation, four widths of the MLP. Were it too much, the batch is halved after the failure.
    """
    shape = plan.MODELS[measurement.model]
    d, f = shape["hidden_size"], shape["intermediate_size"]
    narrow = d // shape["num_attention_heads"] * shape["num_key_value_heads"]
    per_token = 2 * shape["num_hidden_layers"] * (8 * d + 3 * (d + 2 * narrow) + 4 * f)
    static = plan.parameters(measurement.model) * (10 if measurement.tuning == "full" else 3)
    room = 0.85 * memory - static - 6e9
    prompts = make_prompts(measurement, measurement.units // measurement.siblings * measurement.steps, seed=0)
    longest = max(map(size, prompts)) * (2 if measurement.loss == "dpo" else 1)
    batch = measurement.units
    while batch > 4 and batch * longest * per_token > room:
        batch //= 2
    return batch
