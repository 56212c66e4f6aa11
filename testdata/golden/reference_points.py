"""Reference points of rows spread over ranks and steps (handbook 3).

A case has `steps`, each of `ranks`, each a list of rows (for the mismatched estimators: the mismatched rows).
`point` is what stands after the last step: `raw` before the clamp at zero, `value`, and `clamped`, the share (of the
point, of the ranks of clamp_first, of the rows) that the clamp moved. Where each row has its own point, `rows` are
those of the last step in order of ranks, and `point` is their mean.
"""

import random

from common import POINTS, D, check, desirable, mean, random_rows, undesirable
from engine import number

UNCLAMPED = ("uniform", "running_mean", "ema", "zero")


def ratio(estimator, length_average, r):
    k = D(r["logp"]) if estimator == "uniform" else D(r["logp"]) - D(r["ref_logp"])
    return k / r["tokens"] if length_average else k


def average(numbers):
    return mean(numbers) if numbers else D(0)


def one_point(estimator, settings, steps):
    """Raw points, of which the value is the mean after the clamp; `steps` hold the log-ratios k."""
    ranks = steps[-1]
    every = sum(ranks, [])
    if estimator in ("mismatch", "batch_mean", "uniform"):
        return [average(every)]
    if estimator == "zero":
        return [D(0)]
    if estimator == "halos":
        return [sum(every) / D(max(1, sum(k != 0 for k in every)))]
    if estimator == "trl":
        return [average([mean(rank) for rank in ranks if rank])]
    if estimator == "clamp_first":
        return [mean(rank) for rank in ranks if rank] or [D(0)]
    batches = [sum(step, []) for step in steps]
    if estimator == "running_mean":
        return [average(sum(batches, []))]
    if estimator == "ema":
        z, decay = None, D(settings["decay"])
        for batch in filter(None, batches):
            z = mean(batch) if z is None else decay * z + (1 - decay) * mean(batch)
        return [z or D(0)]
    kept = []
    for batch in reversed(batches):
        if len(kept) < settings["window"]:
            kept += batch
    return [average(kept)]


def own_points(estimator, rows, k):
    """Each row's own, before the clamp."""
    everyone = range(len(rows))
    others = lambda i: [k[j] for j in everyone if j != i]
    if estimator == "token_max":
        return [D(r["peak"]) for r in rows]
    if estimator == "class_opposite":
        return [average([k[j] for j in everyone if rows[j]["label"] != r["label"]]) for r in rows]
    if estimator == "leave_one_out":
        return [average(others(i)) for i in everyone]
    siblings = lambda i: [k[j] for j in everyone if j != i and rows[j]["group"] == rows[i]["group"]]
    return [average(siblings(i) or others(i)) for i in everyone]


def estimate(title, estimator, steps, length_average=False, settings=None):
    """`steps`: ranks of rows each."""
    settings = settings or {}
    logs = [[[ratio(estimator, length_average, r) for r in rank] for rank in ranks] for ranks in steps]
    per_row = estimator in ("token_max", "class_opposite", "leave_one_out", "per_prompt")
    if per_row:
        raw = own_points(estimator, sum(steps[-1], []), sum(logs[-1], []))
    else:
        raw = one_point(estimator, settings, logs)
    values = raw if estimator in UNCLAMPED else [max(D(0), z) for z in raw]
    share = D(sum(v != z for v, z in zip(values, raw, strict=True))) / max(1, len(raw))
    point = {"raw": number(average(raw)), "value": number(average(values)), "clamped": number(share)}
    return {
        "name": title,
        "estimator": estimator,
        "length_average": length_average,
        "settings": settings,
        "steps": [{"ranks": ranks} for ranks in steps],
        "point": point,
    } | ({"rows": [number(v) for v in values]} if per_row else {})


def marked(rows, seed):
    """With a prompt and the peak of a mismatched row's token log-ratios."""
    rng = random.Random(seed)
    return [r | {"group": rng.randrange(4), "peak": rng.randrange(-64, 192) / 64} for r in rows]


def three_ranks(seed):
    return [marked(random_rows(seed + j, 5 + j), seed + j) for j in range(3)]


def reference_points():
    cases = []

    def add(*arguments, **more):
        cases.append(estimate(*arguments, **more))
        return cases[-1]["point"]["value"]

    row = lambda k: desirable(-10.0 + k, -10.0, 4)
    known = [[row(k) for k in rank] for rank in ([2.0, 1.0], [-1.5, 0.0, 0.5])]
    golden = {"mismatch": "0.4", "halos": "0.5", "trl": "0.5833333333", "clamp_first": "0.75"}
    for estimator, value in golden.items():
        check(f"reference point {estimator}", value, add("the handbook's two ranks", estimator, [known]))
    one_shot = ("mismatch", "batch_mean", "zero", "uniform", "halos", "trl", "clamp_first")
    rowwise = ("class_opposite", "leave_one_out", "per_prompt", "token_max")
    for i, estimator in enumerate(one_shot + rowwise):
        rows = three_ranks(300 + 10 * i) if i > 3 else [random_rows(30 + i + j, 5 + j) for j in range(3)]
        add(f"three ranks, {estimator}", estimator, [rows])
        if estimator != "token_max":
            nine = random_rows(40 + i, 9)
            add(f"per token, {estimator}", estimator, [[marked(nine, i) if estimator in rowwise else nine]], True)
        add(f"no rows, {estimator}", estimator, [[[], []]])
        below = [desirable(-12.0, -10.0, 4, group=1, peak=-0.5), undesirable(-10.5, -10.0, 2, group=1, peak=-0.25)]
        add(f"a negative mean, {estimator}", estimator, [[below]])
    one = [marked([undesirable(-3.0, -5.0, 4)], 1)]
    for estimator in ("class_opposite", "leave_one_out", "per_prompt"):
        add(f"one row, {estimator}", estimator, [one])
    zeros = [[row(0.0), row(0.0)], [row(0.0), row(3.0), row(0.0)]]
    add("rows of zero, halos", "halos", [zeros])
    add("rows of zero only, halos", "halos", [zeros[:1]])
    add("no siblings, per_prompt", "per_prompt", [[[r | {"group": i} for i, r in enumerate(random_rows(70, 5))]]])
    add("an empty rank, trl", "trl", [[known[0], [], known[1]]])
    add("an empty rank, clamp_first", "clamp_first", [[known[0], [], known[1]]])
    stateful(add)
    return {"about": "reference points of rows spread over ranks and steps", "cases": cases}


def stateful(add):
    steps = [[random_rows(80 + 3 * s + j, 3 + (s + j) % 3) for j in range(2)] for s in range(4)]
    settings = {"running_mean": [{}], "ema": [{"decay": 0.9}, {"decay": 0.5}]}
    settings["ring_buffer"] = [{"window": w} for w in (1, 12, 20, 1000)]
    below = [[[desirable(-12.0, -10.0, 4)]], [[undesirable(-10.5, -10.0, 2)]]]
    above = [[[desirable(-8.0, -10.0, 4)]], [[undesirable(-9.5, -10.0, 2), desirable(-9.0, -10.0, 2)]]]
    for estimator, choices in settings.items():
        for chosen in choices:
            title = ", ".join([estimator, *(f"{k} {v}" for k, v in chosen.items())])
            for n in (1, 2, 4):
                add(f"{n} steps of two ranks, {title}", estimator, [*steps[:n]], settings=chosen)
        add(f"a step without rows, {estimator}", estimator, [steps[0], [[], []], steps[1]], settings=choices[0])
        add(f"no rows, {estimator}", estimator, [[[], []]], settings=choices[0])
        add(f"a negative mean, {estimator}", estimator, below, settings=choices[0])
        add(f"a positive mean, {estimator}", estimator, above, settings=choices[0])
        add(f"per token, {estimator}", estimator, steps[:2], True, choices[0])
    # bco: points A, then B; delta = beta z0
    pairs = [[list(POINTS["A"])], [list(POINTS["B"])]]
    for n, delta in ((1, "0.05"), (2, "0.04375")):
        z0 = add(f"bco's delta / beta after {n} batches", "running_mean", pairs[:n])
        check("bco's running delta", delta, D(z0) * D("0.1"))
