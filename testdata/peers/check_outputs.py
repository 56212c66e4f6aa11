"""Whether transformers and peft read what halo writes: same tensors, same log-probabilities.

    venv/bin/python testdata/peers/check_outputs.py target/debug/halo

For every family: a few steps of `halo train` with all weights and with adapters, and the adapters merged by `halo export`. halo
then samples completions (`halo generate --json` gives their log-probabilities), and transformers or peft score the same tokens.
"""

import json
import pathlib
import shutil
import subprocess
import sys
import tempfile

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from common import FIXTURES, WORDS, as_text

FAMILIES = ["llama", "llama-tied", "llama-rope", "llama-bias", "mistral", "qwen2", "qwen2-window", "qwen3"]
PROMPTS = [[3], [17, 4, 60, 33], [50, 51, 52, 53, 54, 55, 56, 57, 58, 59, 60, 61]]
TOLERANCE = 1e-5  # of the log-probability of a whole completion
BF16 = 1e-2  # both sides compute the rounded weights in f32; what is left is the rounding itself, against the unrounded model


def halo(*args):
    return subprocess.run([sys.argv[1], *map(str, args)], check=True, capture_output=True, text=True).stdout


def completions(model, scratch):
    """(prompt ids, completion ids, log-probability) of samples that halo draws from the model."""
    prompts = scratch / "prompts.jsonl"
    prompts.write_text("".join(json.dumps({"prompt": as_text(ids)}) + "\n" for ids in PROMPTS))
    said = halo("generate", "--json", "--model", model, "--prompts", prompts, "--samples", 3, "--max-new-tokens", 12)
    for line in said.splitlines():
        record = json.loads(line)
        prompt, completion = ([WORDS.index(word) for word in record[key].split()] for key in ("prompt", "completion"))
        completion += [WORDS.index("<eos>")] * record["ended"]
        # Other special tokens are not in the text; a sample with one is left out.
        if len(completion) == record["tokens"]:
            yield prompt, completion, record["logp"]


def score(model, prompt, completion):
    with torch.no_grad():
        logits = model(torch.tensor([prompt + completion])).logits[0, len(prompt) - 1 : -1]
    logps = torch.log_softmax(logits.double(), -1)
    return logps.gather(1, torch.tensor(completion)[:, None]).sum().item()


def load(folder):
    """The model as transformers loads it, nothing missing and nothing left over."""
    model, info = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
    assert not any(info[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys")), info
    return model.eval()


def worst(model, samples):
    samples = list(samples)
    assert len(samples) >= 4, "too few samples to compare"
    return max(abs(score(model, prompt, completion) - logp) / abs(logp) for prompt, completion, logp in samples)


def check(family, scratch):
    base = scratch / "base"
    shutil.copytree(FIXTURES / "models" / family, base)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(FIXTURES / "models/llama" / name, base)
    train = ["train", "--quiet", "--model", base, "--data", FIXTURES / "trl/kto.jsonl", "--steps", 5, "--lr", 1e-2]
    full, adapter, merged, rounded = (scratch / name for name in ("full", "adapter", "merged", "rounded"))
    halo(*train, "--out", full)
    halo(*train, "--out", adapter, "--lora", 4)
    halo("export", "--model", adapter, "--out", merged)
    halo("export", "--model", adapter, "--out", rounded, "--dtype", "bf16")

    peft = PeftModel.from_pretrained(load(base), adapter).eval()
    ours = list(completions(adapter, scratch))
    untrained = worst(load(base), ours)
    assert untrained > 1e-3, "training did nothing: the comparison proves nothing"
    errors = {
        "full": worst(load(full), completions(full, scratch)),
        "adapter": worst(peft, ours),
        "merged": worst(load(merged), ours),
        "bf16": worst(load(rounded), completions(rounded, scratch)),
    }
    before, after = (AutoTokenizer.from_pretrained(folder)(as_text(PROMPTS[2])).input_ids for folder in (base, full))
    assert before == after
    print(f"{family:13}", *(f"{name} {error:.1e}" for name, error in errors.items()), f"(base {untrained:.1e})", sep="  ")
    assert all(error < TOLERANCE for error in errors.values()), errors
    assert worst(load(rounded), ours) < BF16


def main():
    for family in FAMILIES:
        with tempfile.TemporaryDirectory() as scratch:
            check(family, pathlib.Path(scratch))


if __name__ == "__main__":
    main()
