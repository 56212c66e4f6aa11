"""The TRL fixtures again, in plain PyTorch and without TRL: proof that README.md describes what TRL does. Writes nothing."""

import json
import math
import sys
from types import SimpleNamespace

import torch
import torch.nn.functional as F
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM
from transformers.utils import logging

from common import FIXTURES

ROWS = 4  # of a micro-batch


def token_logps(model, prompt, completion):
    """log p of the completion's tokens and ln Σ_v p_v² at their places; one sequence, no padding."""
    ids = torch.tensor(prompt + completion)
    logits = model(ids[None]).logits[0, len(prompt) - 1 : -1]
    logps = logits.log_softmax(-1).gather(1, ids[len(prompt) :, None])[:, 0]
    return logps, (2 * logits).logsumexp(-1) - 2 * logits.logsumexp(-1)


def logp(model, prompt, completion):
    """Sum over the completion's tokens, in nats."""
    return token_logps(model, prompt, completion)[0].sum()


def log_ratio(policy, reference, prompt, completion):
    with torch.no_grad():
        frozen = logp(reference, prompt, completion)
    return logp(policy, prompt, completion) - frozen


def unpaired(policy, reference, rows, name, beta, desirable_weight=1.0, undesirable_weight=1.0):
    """→ (mean loss of the micro-batch, its z₀ where there is one)."""
    point = torch.zeros(())
    if name == "kto":
        with torch.no_grad():
            mismatched = [
                log_ratio(policy, reference, row["prompt_ids"], rows[i - 1]["completion_ids"])
                for i, row in enumerate(rows)
            ]
        point = (sum(mismatched) / len(rows)).clamp(min=0)
    losses = []
    for row in rows:
        ratio = log_ratio(policy, reference, row["prompt_ids"], row["completion_ids"])
        if row["label"]:
            losses.append(desirable_weight * (1 - torch.sigmoid(beta * (ratio - point))))
        else:
            losses.append(undesirable_weight * (1 - torch.sigmoid(beta * (point - ratio))))
    return sum(losses) / len(rows), {"kl": point.item()}


def ls(x):
    return F.logsigmoid(x)


def smooth(x, p):
    e = p.get("label_smoothing", 0.0)
    return -(1 - e) * ls(x) - e * ls(-x)


def exo(w, l, p):
    x, e = p["beta"] * (w.g - l.g), p["label_smoothing"]
    q = torch.sigmoid(x)
    return q * (ls(x) - math.log(1 - e)) + (1 - q) * (ls(-x) - math.log(e))


def sppo(w, l, p):
    target = (p.get("win_probability", 1.0) - 0.5) / p["beta"]
    return (w.r - target) ** 2 + (l.r + target) ** 2


def discopop(w, l, p):
    k = p["beta"] * (w.g - l.g)
    m = torch.sigmoid(k / p["tau"])
    return (1 - m) * -ls(k) + m * torch.exp(-k)


def robust(w, l, p):
    x, e = p["beta"] * (w.g - l.g), p["label_smoothing"]
    return (-(1 - e) * ls(x) + e * ls(-x)) / (1 - 2 * e)


def aot(w, l, p):
    return smooth(p["beta"] * ((w.logp - l.logp).sort().values - (w.ref - l.ref).sort().values), p)


def aot_unpaired(w, l, p):
    return smooth(p["beta"] * (w.r.sort().values - l.r.sort().values), p)


def log1mexp(a):
    return torch.where(a > -math.log(2), torch.log(-torch.expm1(a)), torch.log1p(-torch.exp(a)))


def orpo(w, l, p):
    odds = (w.a - l.a) - (log1mexp(w.a) - log1mexp(l.a))
    return -w.a - p["odds_weight"] * ls(odds)


def shaped(a, p):
    return -torch.expm1(-p["alpha"] * a) / p["alpha"]


# Halo's name → loss of each pair. Of a row: logp and ref (sums), n tokens, a = logp/n, r = logp - ref, g = r under the f-divergence.
PAIRED = {
    "dpo": lambda w, l, p: -ls(p["beta"] * (w.g - l.g)),
    "hinge": lambda w, l, p: torch.relu(1 - p["beta"] * (w.g - l.g)),
    "ipo": lambda w, l, p: (w.g / w.n - l.g / l.n - 1 / (2 * p["tau"])) ** 2,
    "exo": exo,
    "nca": lambda w, l, p: -ls(p["beta"] * w.r) - 0.5 * ls(-p["beta"] * w.r) - 0.5 * ls(-p["beta"] * l.r),
    "robust_dpo": robust,
    "sppo": sppo,
    "apo_zero": lambda w, l, p: 1 - torch.sigmoid(p["beta"] * w.r) + torch.sigmoid(p["beta"] * l.r),
    "apo_down": lambda w, l, p: torch.sigmoid(p["beta"] * w.r) + 1 - torch.sigmoid(p["beta"] * (w.r - l.r)),
    "discopop": discopop,
    "sigmoid_norm": lambda w, l, p: -ls(p["beta"] * (w.g / w.n - l.g / l.n)),
    "aot": aot,
    "aot_unpaired": aot_unpaired,
    "bco_pair": lambda w, l, p: -ls(p["beta"] * w.r) - ls(-p["beta"] * l.r),
    "rpo": lambda w, l, p: -ls(p["beta"] * (w.g - l.g)) - p["nll_weight"] * w.a,
    "cpo": lambda w, l, p: smooth(p["beta"] * (w.logp - l.logp), p) - p["nll_weight"] * w.a,
    "simpo": lambda w, l, p: -ls(p["beta"] * (w.a - l.a - p["gamma_beta_ratio"])),
    "alphapo": lambda w, l, p: -ls(p["beta"] * (shaped(w.a, p) - shaped(l.a, p)) - p["gamma"]),
    "slic": lambda w, l, p: torch.relu(p["margin"] - w.logp + l.logp) - p["nll_weight"] * w.logp,
    "orpo": orpo,
    # A part of a mixture: the mean over the micro-batch's chosen tokens.
    "sft": lambda w, l, p: -w.logp.sum() / w.n.sum(),
}

# Reported reward, where it is not beta · r.
REWARDS = {
    "ipo": lambda row, p: p["tau"] * row.r,
    "cpo": lambda row, p: p["beta"] * row.logp,
    "simpo": lambda row, p: p["beta"] * row.a,
    "alphapo": lambda row, p: p["beta"] * shaped(row.a, p),
    "slic": lambda row, p: row.logp,
    "orpo": lambda row, p: p["odds_weight"] * row.a,
}

DIVERGENCES = {
    "reverse_kl": lambda r, p: r,
    "forward_kl": lambda r, p: 1 - torch.exp(-r),
    "js": lambda r, p: math.log(2) + ls(r),
    "alpha": lambda r, p: torch.expm1((p["f_alpha"] - 1) * r) / (p["f_alpha"] - 1),
}


def side(policy, reference, rows, key, p):
    """The rows' numbers of one side of the pairs, stacked."""
    columns = {"logp": [], "ref": [], "n": [], "wpo": []}
    for row in rows:
        n = len(row[key])
        tail = torch.arange(n) >= min(len(row["chosen_ids"]), len(row["rejected_ids"]))
        weight = torch.where(tail, p.get("ld_alpha", 1.0), 1.0)
        logps, collisions = token_logps(policy, row["prompt_ids"], row[key])
        with torch.no_grad():
            ref = token_logps(reference, row["prompt_ids"], row[key])[0] if reference else torch.zeros(n)
            columns["wpo"].append((logps - collisions).mean().exp())
        columns["logp"].append((weight * logps).sum())
        columns["ref"].append((weight * ref).sum())
        columns["n"].append(torch.tensor(float(n)))
    out = SimpleNamespace(**{name: torch.stack(values) for name, values in columns.items()})
    out.r, out.a = out.logp - out.ref, out.logp / out.n
    out.g = DIVERGENCES[p.get("f_divergence", "reverse_kl")](out.r, p)
    return out


def paired(policy, reference, rows, name, **parameters):
    """→ (mean loss of the micro-batch, TRL's other metrics). `name` may be a mixture: dpo + 0.5*sft."""
    total, parts = 0.0, name.split(" + ")
    for i, part in enumerate(parts):
        factor, loss = part.split("*") if "*" in part else (1.0, part)
        prefix = f"{loss}." if len(parts) > 1 else ""
        p = {key.removeprefix(prefix): value for key, value in parameters.items() if key.startswith(prefix)}
        w, l = (side(policy, reference, rows, key, p) for key in ("chosen_ids", "rejected_ids"))
        values = PAIRED[loss](w, l, p)
        if p.get("wpo") == "exact":
            values = values * (w.wpo * l.wpo)
        total = total + float(factor) * values.mean()
        if i == 0:
            reward = REWARDS.get(loss, lambda row, p: p["beta"] * row.r)
            chosen, rejected = (reward(row, p).mean().item() for row in (w, l))
            metrics = {"rewards/chosen": chosen, "rewards/rejected": rejected, "rewards/margins": chosen - rejected}
            for key, row in (("chosen", w), ("rejected", l)):
                logps = row.logp.mean().item()
                metrics |= {f"logps/{key}": logps, f"logps_weighted/{key}": logps}
                metrics |= {f"logps_per_token/{key}": row.a.mean().item()}
    return total, metrics


def load(folder):
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")


def models(folder, case):
    """(policy, reference); a snapshot of the adapter is simply a second copy of it."""
    policy, reference = load(folder / case["policy"]), load(folder / (case["reference_folder"] or case["policy"]))
    if "lora" in case:
        policy = PeftModel.from_pretrained(policy, folder / "adapter", is_trainable=True)
    if case["reference"] == "snapshot":
        reference = PeftModel.from_pretrained(reference, folder / "adapter")
    return policy, None if case["reference"] == "none" else reference


def replay(folder):
    case = json.loads((folder / "case.json").read_text())
    rows = [json.loads(line) for line in (folder.parent / f"{case['data']}.jsonl").read_text().splitlines()]
    metrics = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    policy, reference = models(folder, case)
    optimiser, loss = case["optimiser"], dict(case["loss"])
    loss.pop("reference_point", None)  # bco_pair: zero
    evaluate = unpaired if "label" in rows[0] else paired
    trained = [(name, p) for name, p in policy.named_parameters() if p.requires_grad]
    plain = [p for name, p in trained if "norm" in name or "bias" in name]
    decayed = [p for name, p in trained if not ("norm" in name or "bias" in name)]
    adamw = torch.optim.AdamW(
        [dict(params=decayed, weight_decay=optimiser["weight_decay"]), dict(params=plain, weight_decay=0.0)],
        lr=optimiser["learning_rate"],
    )
    accumulation, cursor, errors = optimiser["gradient_accumulation_steps"], 0, []
    for line in metrics:
        step = {"loss": 0.0}
        for _ in range(accumulation):
            value, others = evaluate(policy, reference, rows[cursor : cursor + ROWS], **loss)
            (value / accumulation).backward()
            for key, part in (others | {"loss": value.item()}).items():
                step[key] = step.get(key, 0.0) + part / accumulation
            cursor = (cursor + ROWS) % len(rows)
        step["grad_norm"] = torch.nn.utils.clip_grad_norm_([p for _, p in trained], optimiser["max_grad_norm"]).item()
        adamw.step()
        adamw.zero_grad()
        sync = case.get("reference_sync")
        if sync and line["step"] % sync["every"] == 0:
            with torch.no_grad():
                for mine, theirs in zip(policy.parameters(), reference.parameters(), strict=True):
                    theirs.lerp_(mine, sync["mix"])
        errors.append({key: abs(step[key] - line[key]) / max(1.0, abs(line[key])) for key in step if key in line})
    final = load_file(folder / "final.safetensors")
    mine = {name.replace(".default.", "."): p.detach() for name, p in trained}
    assert final.keys() == mine.keys()
    weights = max(((final[k] - mine[k]).norm() / final[k].norm()).item() for k in final)
    first, worst = errors[0]["loss"], max(max(error.values()) for error in errors)
    print(f"{folder.name}: loss of step 1 to {first:.1e}, metrics to {worst:.1e}, weights to {weights:.1e} of their norm")
    assert worst < 1e-4 and weights < 1e-4


if __name__ == "__main__":
    logging.disable_progress_bar()
    for file in sorted((FIXTURES / "trl").glob("*/case.json")):
        if len(sys.argv) == 1 or file.parent.name in sys.argv[1:]:
            replay(file.parent)
