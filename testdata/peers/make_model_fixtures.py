"""Tiny random checkpoints of every model family, and what `transformers` makes of them.

Writes testdata/fixtures/models/NAME/{config.json, model*.safetensors, expected.safetensors}; see README.md for the tensors.
"""

import shutil

import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, LlamaConfig, MistralConfig, Qwen2Config, Qwen3Config
from transformers.utils import logging

from common import FIXTURES, VOCAB, randomize, to_v4_config, tokenizer, tokens

SIZES = dict(
    vocab_size=VOCAB,
    hidden_size=32,
    intermediate_size=40,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=128,
    rms_norm_eps=1e-5,
    pad_token_id=0,
    bos_token_id=1,
    eos_token_id=2,
    tie_word_embeddings=False,
    attn_implementation="eager",
)
ROPE = {"rope_type": "default", "rope_theta": 10000.0}
# Wave lengths of E = 8 at base 10000 are 6, 63, 628, 6283: one below 64/4, one between, two above 64/1.
ROPE_LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 10000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}


def config(cls, **changes):
    return cls(**{**SIZES, "rope_parameters": dict(ROPE), **changes})


# name: (seed, config, options). v4: config.json in the keys of transformers 4. dtype: of the weights on disk.
MODELS = {
    "llama": (11, config(LlamaConfig), dict(v4=True)),
    "llama-tied": (
        12,
        config(LlamaConfig, hidden_size=40, num_key_value_heads=1, tie_word_embeddings=True),
        dict(),
    ),
    "llama-rope": (13, config(LlamaConfig, rope_parameters=dict(ROPE_LLAMA3)), dict(v4=True)),
    "llama-rope-v5": (
        14,
        config(LlamaConfig, rope_parameters=dict(ROPE_LLAMA3, rope_theta=500.0), tie_word_embeddings=True),
        dict(gradients=False),
    ),
    "llama-bias": (15, config(LlamaConfig, attention_bias=True, num_key_value_heads=4), dict()),
    "llama-bf16": (16, config(LlamaConfig), dict(dtype=torch.bfloat16, gradients=False)),
    "llama-f16": (17, config(LlamaConfig), dict(dtype=torch.float16, gradients=False, v4=True)),
    "llama-sharded": (18, config(LlamaConfig), dict(shard="24KB", gradients=False)),
    "mistral": (21, config(MistralConfig, sliding_window=6), dict(v4=True)),
    "qwen2": (31, config(Qwen2Config, tie_word_embeddings=True), dict(v4=True)),
    "qwen2-window": (
        32,
        config(Qwen2Config, use_sliding_window=True, sliding_window=5, max_window_layers=1),
        dict(gradients=False),
    ),
    "qwen3": (41, config(Qwen3Config, head_dim=16, tie_word_embeddings=True), dict()),
    "qwen3-untied": (
        42,
        config(Qwen3Config, head_dim=12, rope_parameters=dict(ROPE, rope_theta=1e6)),
        dict(v4=True, gradients=False),
    ),
}

WITH_TOKENIZER = ["llama", "qwen2"]  # the models of the TRL fixtures

# (prompt tokens, completion tokens, coefficient). The second shares the first one's prompt.
SEQUENCES = [(7, 9, 0.7), (7, 5, -1.3), (1, 23, 0.4), (10, 1, -0.9)]
GREEDY_TOKENS = 12


def make_sequences(seed):
    generator = torch.Generator().manual_seed(seed)
    sequences = []
    for i, (prompt, completion, _) in enumerate(SEQUENCES):
        head = sequences[0][:prompt] if i == 1 else tokens(generator, prompt)
        sequences.append(torch.cat([head, tokens(generator, completion)]))
    return sequences


@torch.no_grad()
def greedy(model, prompt, count):
    """The most likely continuation, without a cache; none if it ends early or has a near tie that rounding could turn."""
    ids = prompt.clone()
    for _ in range(count):
        top = model(ids[None]).logits[0, -1].topk(2)
        if top.values[0] - top.values[1] < 1e-2 or top.indices[0] == model.config.eos_token_id:
            return None
        ids = torch.cat([ids, top.indices[:1]])
    cached = model.generate(
        prompt[None], attention_mask=torch.ones(1, len(prompt), dtype=torch.long), do_sample=False, max_new_tokens=count
    )
    assert torch.equal(cached[0], ids), "generate() with its cache disagrees"
    return ids[len(prompt) :]


def expected(model, seed, gradients):
    """Logits, log-probabilities, the gradient of Σ_i c_i Σ_{t in completion i} log p_t, and a greedy continuation."""
    sequences, continuation = make_sequences(seed), None
    while continuation is None:
        continuation = greedy(model, sequences[0][: SEQUENCES[0][0]], GREEDY_TOKENS)
        if continuation is None:
            seed += 100
            sequences = make_sequences(seed)
    out, objective = {"greedy": continuation}, 0.0
    for i, (ids, (prompt, _, coefficient)) in enumerate(zip(sequences, SEQUENCES)):
        logits = model(ids[None], use_cache=False).logits[0]
        logps = logits[:-1].log_softmax(-1).gather(1, ids[1:, None])[:, 0]
        objective = objective + coefficient * logps[prompt - 1 :].sum()
        out[f"input_ids.{i}"] = ids
        out[f"logits.{i}"] = logits.detach()
        out[f"logps.{i}"] = logps.detach()
    out["prompt_lengths"] = torch.tensor([p for p, _, _ in SEQUENCES])
    out["coefficients"] = torch.tensor([c for _, _, c in SEQUENCES])
    out["objective"] = objective.detach().reshape(1)
    if gradients:
        objective.backward()
        for name, parameter in model.named_parameters():
            assert parameter.grad.abs().max() > 1e-4, f"{name}: a gradient of zero would prove nothing"
            out[f"grad.{name}"] = parameter.grad
    return {name: tensor.contiguous() for name, tensor in out.items()}


def make(name, seed, config, v4=False, dtype=torch.float32, shard="1GB", gradients=True):
    folder = FIXTURES / "models" / name
    shutil.rmtree(folder, ignore_errors=True)
    model = randomize(AutoModelForCausalLM.from_config(config, dtype=torch.float32), seed)
    model.to(dtype).save_pretrained(folder, max_shard_size=shard)
    (folder / "generation_config.json").unlink()
    if v4:
        to_v4_config(folder)
    if name in WITH_TOKENIZER:
        tokenizer().save_pretrained(folder)
    # What the files say is what counts: read them back, computing in f32 whatever the dtype on disk.
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    result = expected(model, seed + 1000, gradients)
    save_file(result, folder / "expected.safetensors")
    size = sum(file.stat().st_size for file in folder.iterdir())
    print(f"{name}: {sum(p.numel() for p in model.parameters())} parameters, {size / 1024:.0f} KiB, "
          f"log-probabilities {result['logps.0'].min():.1f}..{result['logps.0'].max():.1f}, greedy {result['greedy'].tolist()}")


if __name__ == "__main__":
    logging.disable_progress_bar()
    for name, (seed, model_config, options) in MODELS.items():
        make(name, seed, model_config, **options)
