"""Advantages of groups of completions, and class weights from counts (handbook 2.7, 4)."""

import random

from common import D, check, desirable, mean, random_rows
from engine import number


def advantages_of(kind, rows):
    if kind == "sign":
        return [D(1 if r["label"] == "desirable" else -1) for r in rows]
    scores = [D(r["score"]) for r in rows]
    if kind == "score":
        return scores
    out = []
    for i, r in enumerate(rows):
        group = [s for s, other in zip(scores, rows, strict=True) if other["group"] == r["group"]]
        if len(group) == 1:
            out.append(D(0))
        elif kind == "leave_one_out":
            out.append(scores[i] - (sum(group) - scores[i]) / (len(group) - 1))
        else:
            centred = scores[i] - mean(group)
            if kind == "group_std":
                variance = sum((s - mean(group)) ** 2 for s in group) / (len(group) - 1)
                centred /= variance.sqrt() + D(1e-4)
            out.append(centred)
    return out


PUBLISHED = {
    "group_std": ("1.2244449449", "-1.2244449449", "0", "0"),
    "leave_one_out": ("0.6666666667", "-0.6666666667", "0", "0"),
}


def advantages():
    cases = []
    group = [desirable(-1.0, -1.0, 1, score=s, group=0) for s in (1.0, 0.0, 0.5, 0.5)]
    rng = random.Random(7000)
    some = [r | {"score": rng.randrange(-32, 33) / 16, "group": rng.randrange(5)} for r in random_rows(7000, 20)]
    some.append(some[0] | {"group": 77})
    equal = [r | {"score": 0.75, "group": i // 3} for i, r in enumerate(random_rows(7001, 6))]
    big = [r | {"score": 64.0 + i, "group": 4} for i, r in enumerate(random_rows(7002, 4))]
    for kind in ("group_std", "group_mean", "leave_one_out", "sign", "score"):
        sets = {"the handbook's rewards": group, "groups in any order, one of a single row": some}
        sets |= {"equal rewards": equal, "rewards far from zero": big}
        for title, rows in sets.items():
            ours = advantages_of(kind, rows)
            if rows is group:
                for known, a in zip(PUBLISHED.get(kind, ()), ours):
                    check(f"advantage {kind}", known, a)
            made = {"name": f"{kind}: {title}", "kind": kind, "rows": rows}
            cases.append(made | {"advantages": [number(a) for a in ours]})
    return {"about": "advantages of groups; a group of one row has none", "cases": cases}


def weighting():
    cases = []
    counts = [(100, 1000, 1.0), (100, 1000, 1.5), (1000, 100, 1.0), (1000, 100, 1.25)]
    counts += [(7, 7, 1.0), (7, 7, 1.5), (1, 3, 1.0)]
    for n_d, n_u, target in counts:
        if n_d <= n_u:
            weights = {"desirable": float(D(target) * n_u / n_d), "undesirable": 1.0}
        else:
            weights = {"desirable": 1.0, "undesirable": float(n_d / (D(target) * n_u))}
        cases.append({"desirable": n_d, "undesirable": n_u, "target": target, "weights": weights})
    # the paper's example: 1:10 gives a desirable weight in [10, 15]
    assert cases[0]["weights"]["desirable"] == 10 and cases[1]["weights"]["desirable"] == 15
    return {"about": "class weights from counts", "cases": cases}
