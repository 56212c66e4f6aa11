"""The TRL fixtures again, in plain PyTorch and without TRL: proof that README.md describes what TRL does. Writes nothing."""

import json

import torch
import torch.nn.functional as F
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM
from transformers.utils import logging

from common import FIXTURES

ROWS = 4  # of a micro-batch


def logp(model, prompt, completion):
    """Sum over the completion's tokens, in nats; one sequence, no padding."""
    ids = torch.tensor(prompt + completion)
    logps = model(ids[None]).logits[0, :-1].log_softmax(-1).gather(1, ids[1:, None])[:, 0]
    return logps[len(prompt) - 1 :].sum()


def log_ratio(policy, reference, prompt, completion):
    with torch.no_grad():
        frozen = logp(reference, prompt, completion)
    return logp(policy, prompt, completion) - frozen


def kto(policy, reference, rows, beta, desirable_weight=1.0, undesirable_weight=1.0):
    """→ (mean loss of the micro-batch, its z₀)."""
    with torch.no_grad():
        mismatched = [
            log_ratio(policy, reference, row["prompt_ids"], rows[i - 1]["completion_ids"]) for i, row in enumerate(rows)
        ]
    point = (sum(mismatched) / len(rows)).clamp(min=0)
    losses = []
    for row in rows:
        ratio = log_ratio(policy, reference, row["prompt_ids"], row["completion_ids"])
        if row["label"]:
            losses.append(desirable_weight * (1 - torch.sigmoid(beta * (ratio - point))))
        else:
            losses.append(undesirable_weight * (1 - torch.sigmoid(beta * (point - ratio))))
    return sum(losses) / len(rows), point.item()


def dpo(policy, reference, rows, beta):
    margins = [
        log_ratio(policy, reference, row["prompt_ids"], row["chosen_ids"])
        - log_ratio(policy, reference, row["prompt_ids"], row["rejected_ids"])
        for row in rows
    ]
    return -sum(F.logsigmoid(beta * margin) for margin in margins) / len(rows), 0.0


def load(folder):
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")


def models(folder, case):
    """(policy, reference); a snapshot of the adapter is simply a second copy of it."""
    policy, reference = load(folder / case["policy"]), load(folder / (case["reference_folder"] or case["policy"]))
    if "lora" in case:
        policy = PeftModel.from_pretrained(policy, folder / "adapter", is_trainable=True)
    if case["reference"] == "snapshot":
        reference = PeftModel.from_pretrained(reference, folder / "adapter")
    return policy, reference


def replay(folder):
    case = json.loads((folder / "case.json").read_text())
    rows = [json.loads(line) for line in (folder.parent / f"{case['data']}.jsonl").read_text().splitlines()]
    metrics = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    policy, reference = models(folder, case)
    optimiser, loss = case["optimiser"], dict(case["loss"])
    evaluate = {"kto": kto, "dpo": dpo}[loss.pop("name")]
    trained = [(name, p) for name, p in policy.named_parameters() if p.requires_grad]
    plain = [p for name, p in trained if "norm" in name or "bias" in name]
    decayed = [p for name, p in trained if not ("norm" in name or "bias" in name)]
    adamw = torch.optim.AdamW(
        [dict(params=decayed, weight_decay=optimiser["weight_decay"]), dict(params=plain, weight_decay=0.0)],
        lr=optimiser["learning_rate"],
    )
    accumulation, cursor, worst = optimiser["gradient_accumulation_steps"], 0, 0.0
    for line in metrics:
        total, points = 0.0, 0.0
        for _ in range(accumulation):
            value, point = evaluate(policy, reference, rows[cursor : cursor + ROWS], **loss)
            (value / accumulation).backward()
            total, points = total + value.item() / accumulation, points + point / accumulation
            cursor = (cursor + ROWS) % len(rows)
        norm = torch.nn.utils.clip_grad_norm_([p for _, p in trained], optimiser["max_grad_norm"])
        adamw.step()
        adamw.zero_grad()
        differences = [total - line["loss"], points - line.get("kl", 0.0), norm.item() - line["grad_norm"]]
        worst = max(worst, *map(abs, differences))
    final = load_file(folder / "final.safetensors")
    mine = {name.replace(".default.", "."): p.detach() for name, p in trained}
    assert final.keys() == mine.keys()
    weights = max(((final[k] - mine[k]).norm() / final[k].norm()).item() for k in final)
    print(f"{folder.name}: metrics to {worst:.1e}, weights to {weights:.1e} of their norm")
    assert worst < 1e-4 and weights < 1e-4


if __name__ == "__main__":
    logging.disable_progress_bar()
    for file in sorted((FIXTURES / "trl").glob("*/case.json")):
        replay(file.parent)
