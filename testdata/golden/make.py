#!/usr/bin/env python3
"""Golden values of the losses: written from the papers' formulas, never from this project's code.

Run it in this folder: `python3 make.py` writes `*.json`; `python3 make.py --check` only compares.
Nothing but the standard library. Formulas are evaluated with 60 digits (`decimal`), on the exact values of
the float64 inputs, and derivatives are central differences with a step of 1e-20: exact to about 1e-38,
so no derivative is written down here. Results are rounded to float64 once, at the end.

A case is: `params` (only those set), `rows`, `reference_point` (z0, nats), `normalizer`, and what must come out:
`loss`, `values` per unit, `dlogps`, `rewards` and `zones` per row. `published` holds numbers that were known before
this project (the handbook's table), to twelve digits; this script refuses to write if its formulas miss them.
"""

import json
import random
import sys
from decimal import Decimal as D, getcontext
from pathlib import Path

getcontext().prec = 60
getcontext().Emax, getcontext().Emin = 10**9, -(10**9)
STEP = D("1e-20")
TOLERANCE = D("0.01")


def sigmoid(x):
    return 1 / (1 + (-x).exp())


def ls(x):
    """ln sigmoid(x)"""
    return -(1 + (-x).exp()).ln()


# ---------------------------------------------------------------- the losses


CHORD = D(0.001)


def kt(u, alpha, kappa):
    """Kahneman-Tversky: u^alpha, -kappa (-u)^alpha, each side with its chord from the origin below 1e-3."""
    x = abs(u)
    v = CHORD ** (alpha - 1) * x if x < CHORD else x**alpha
    return v if u >= 0 else -kappa * v


def kto(p, rows, z0):
    beta = D(p.get("beta", 0.1))
    kind = p.get("value", "logistic")
    alpha, kappa = D(p.get("value_alpha", 0.88)), D(p.get("value_loss_aversion", 2.25))
    (row,) = rows
    s = 1 if row["label"] == "desirable" else -1
    weight = D(p.get("desirable_weight" if s > 0 else "undesirable_weight", 1.0))
    u = beta * s * (kto_ratio(p, row) - z0)
    if kind == "logistic":
        return weight * (1 - sigmoid(u))
    if kind == "log_sigmoid":
        return weight * (0 - ls(u))
    if kind == "identity":
        return weight * (1 - u)
    return weight * (1 - kt(u, alpha, kappa))


def kto_ratio(p, row):
    r = row["logp"] if p.get("reference_policy") == "uniform" else row["logp"] - row["ref_logp"]
    return r / row["tokens"] if p.get("length_average") else r


def kto_reward(p, row):
    return D(0) if p.get("reference_policy") == "uniform" else D(p.get("beta", 0.1)) * kto_ratio(p, row)


def kto_steepest(p, row, gain):
    """The largest |dL/dr| on the side where the row stands."""
    beta = D(p.get("beta", 0.1))
    weight = D(p.get("desirable_weight" if row["label"] == "desirable" else "undesirable_weight", 1.0))
    alpha, kappa = D(p.get("value_alpha", 0.88)), D(p.get("value_loss_aversion", 2.25))
    v = {
        "logistic": D("0.25"),
        "log_sigmoid": D(1),
        "identity": D(1),
        "kahneman_tversky": CHORD ** (alpha - 1) * (1 if gain >= 0 else kappa),
    }[p.get("value", "logistic")]
    n = row["tokens"] if p.get("length_average") else 1
    return weight * beta * v / n


def dpo(p, rows, _):
    w, l = rows
    delta = (w["logp"] - w["ref_logp"]) - (l["logp"] - l["ref_logp"])
    return -ls(D(p.get("beta", 0.1)) * delta)


def sft(p, rows, _):
    (row,) = rows
    return -row["logp"] / (row["tokens"] if p.get("average") == "sequence" else 1)


# ---------------------------------------------------------------- from a formula to a case

FORMULAS = {"kto": (kto, 1), "dpo": (dpo, 2), "sft": (sft, 1)}
COLUMNS = ("logp", "ref_logp", "tokens")


def exact(row):
    return {k: D(v) if k in COLUMNS else v for k, v in row.items()}


def zone(loss, p, unit, slopes, z0):
    """By the slope itself, not by a bound: below TOLERANCE of the steepest, and on which side."""
    if loss == "sft":
        return "active"
    if loss == "dpo":
        w, l = unit
        right = (w["logp"] - w["ref_logp"]) - (l["logp"] - l["ref_logp"]) > 0
        steepest = D(p.get("beta", 0.1))
    else:
        s = 1 if unit[0]["label"] == "desirable" else -1
        gain = s * (kto_ratio(p, unit[0]) - z0)
        right = gain > 0
        steepest = kto_steepest(p, unit[0], gain)
    if steepest == 0 or abs(slopes[0]) >= TOLERANCE * steepest:
        return "active"
    return "learnt" if right else "given_up"


def case(loss, name, rows, params=None, z0=0.0, units=None, tokens=None, published=None):
    formula, size = FORMULAS[loss]
    p = params or {}
    exact_rows = [exact(r) for r in rows]
    units = units if units is not None else len(rows) // size
    tokens = tokens if tokens is not None else sum(r["tokens"] for r in rows)
    divisor = D(tokens) if loss == "sft" and p.get("average", "token") == "token" else D(units)
    values, dlogps, rewards, zones = [], [], [], []
    for start in range(0, len(rows), size):
        unit = exact_rows[start : start + size]
        value = formula(p, unit, D(z0))
        slopes = []
        for i in range(size):
            ends = []
            for step in (STEP, -STEP):
                moved = [dict(r) for r in unit]
                moved[i]["logp"] += step
                ends.append(formula(p, moved, D(z0)))
            slopes.append((ends[0] - ends[1]) / (2 * STEP))
        values.append(value)
        dlogps += [g / divisor for g in slopes]
        zones += [zone(loss, p, unit, slopes, D(z0))] * size
        for r in unit:
            beta = D(p.get("beta", 0.1))
            rewards.append(
                D(0) if loss == "sft" else beta * (r["logp"] - r["ref_logp"]) if loss == "dpo" else kto_reward(p, r)
            )
    if published:
        check_published(name, published, values, dlogps)
    result = {
        "name": name,
        "params": p,
        "rows": rows,
        "reference_point": z0,
        "normalizer": {"units": float(units), "tokens": float(tokens)},
        "loss": float(sum(values) / divisor),
        "values": [float(v) for v in values],
        "dlogps": [float(g) for g in dlogps],
        "rewards": [float(r) for r in rewards],
        "zones": zones,
    }
    return result | ({"published": published} if published else {})


def check_published(name, published, values, dlogps):
    for what, known, ours in (("value", [published["value"]], values), ("dlogps", published["dlogps"], dlogps)):
        for k, v in zip(known, ours, strict=True):
            if abs(D(k) - v) > abs(D(k)) * D("6e-12") + D("1e-18"):
                sys.exit(f"{name}: published {what} {k}, this script {float(v)!r}")


def row(label, logp, ref, tokens):
    return {"logp": logp, "ref_logp": ref, "tokens": tokens, "label": label}


def desirable(logp, ref, tokens):
    return row("desirable", logp, ref, tokens)


def undesirable(logp, ref, tokens):
    return row("undesirable", logp, ref, tokens)


# The handbook's three pairs: chosen, rejected.
POINTS = {
    "A": (desirable(-20.0, -22.0, 10), undesirable(-18.0, -17.0, 6)),
    "B": (desirable(-31.5, -30.0, 12), undesirable(-25.25, -27.5, 9)),
    "C": (desirable(-140.0, -20.0, 10), undesirable(-15.0, -25.0, 10)),
}
# point: value, d/dlp_w, d/dlp_l
PUBLISHED_DPO = {
    "A": ("0.554355244469", "-0.0425557483188", "0.0425557483188"),
    "B": ("0.89812326414", "-0.0592666599954", "0.0592666599954"),
    "C": ("13.0000022603", "-0.0999997739676", "0.0999997739676"),
}
# (settings, z0, class): point: value, derivative
PUBLISHED_KTO = {
    ("logistic", 0.3, "D"): {
        "A": ("0.457602059226", "-0.0248202414618"),
        "B": ("0.544878892374", "-0.0247985885019"),
        "C": ("0.999994037412", "-5.96255233034e-07"),
    },
    ("logistic", 0.3, "U"): {
        "A": ("0.467545693613", "0.0248946717997"),
        "B": ("0.548596108583", "0.0247638418231"),
        "C": ("0.72511949779", "0.0199321211715"),
    },
    ("logistic", 0.0, "D"): {
        "A": ("0.450166002688", "-0.0247516572712"),
        "B": ("0.537429845344", "-0.0248599006678"),
    },
    ("logistic", 0.0, "U"): {
        "A": ("0.475020812521", "0.0249376040193"),
        "B": ("0.556013890545", "0.0246862444066"),
    },
    ("log_sigmoid", 0.3, "D"): {
        "A": ("0.611755338871", "-0.0457602059226"),
        "B": ("0.787191724841", "-0.0544878892374"),
    },
    ("log_sigmoid", 0.3, "U"): {
        "A": ("0.630258194682", "0.0467545693613"),
        "B": ("0.795392793863", "0.0548596108583"),
    },
    ("identity", 0.3, "D"): {"A": ("0.83", "-0.1"), "B": ("1.18", "-0.1")},
    ("identity", 0.3, "U"): {"A": ("0.87", "0.1"), "B": ("1.195", "0.1")},
    ("kahneman_tversky", 0.3, "D"): {
        "A": ("0.789721412629", "-0.108850092286"),
        "B": ("1.49753349376", "-0.24323859695"),
    },
    ("kahneman_tversky", 0.3, "U"): {
        "A": ("0.833938043628", "0.112411170467"),
        "B": ("1.53384229159", "0.240913444408"),
    },
}


def random_rows(seed, n, spread=8.0):
    """Dyadic numbers, so that every reader of JSON sees the same bits."""
    rng = random.Random(seed)
    rows = []
    for i in range(n):
        ref = -rng.randrange(64, 64 * 80) / 64
        logp = min(ref + round(rng.gauss(0, spread) * 64) / 64, -1 / 64)
        rows.append(row("desirable" if i % 2 == 0 else "undesirable", logp, ref, rng.randrange(1, 60)))
    return rows


VALUES = ("logistic", "log_sigmoid", "identity", "kahneman_tversky")


def kto_cases():
    for (value, z0, side), points in PUBLISHED_KTO.items():
        for point, (v, g) in points.items():
            params = {} if value == "logistic" else {"value": value}
            name = f"point {point}, {value}, z0 {z0}, {'desirable' if side == 'D' else 'undesirable'}"
            yield case("kto", name, [POINTS[point][side == "U"]], params, z0, published={"value": v, "dlogps": [g]})
    for value in VALUES:
        yield case("kto", f"32 rows of a step of 40, {value}", random_rows(1, 32), {"value": value}, 0.75, units=40)
        yield case(
            "kto",
            f"weights and beta, {value}",
            random_rows(2, 12),
            {"value": value, "beta": 0.5, "desirable_weight": 1.0, "undesirable_weight": 3.5},
            1.25,
        )
        far = [f(lp, ref, 9) for f in (desirable, undesirable) for lp, ref in ((-1.0, -10001.0), (-10001.0, -1.0))]
        yield case("kto", f"margins of 10000, {value}", far, {"value": value})
    near = [f(-20.0 + d, -20.0, 5) for f in (desirable, undesirable) for d in (2**-8, 2**-9, -(2**-8), -(2**-9), 2**-4)]
    yield case("kto", "the power curve and its chord", near, {"value": "kahneman_tversky"})
    curve = {"value": "kahneman_tversky", "value_alpha": 0.5, "value_loss_aversion": 1.5, "beta": 0.25}
    yield case("kto", "another power curve", random_rows(3, 12), curve, 0.5)
    yield case("kto", "at the reference point", [f(-9.7, -10.0, 3) for f in (desirable, undesirable)], {}, -9.7 + 10.0)
    uniform = {"reference_policy": "uniform", "desirable_weight": 1.75}
    yield case("kto", "no reference policy", random_rows(4, 12), uniform, -38.5)
    yield case("kto", "no reference policy, per token", random_rows(5, 12), uniform | {"length_average": True}, -2.25)
    yield case("kto", "log-ratios per token", random_rows(6, 12), {"length_average": True, "beta": 2.0}, 0.125)


def dpo_cases():
    for point, (v, gw, gl) in PUBLISHED_DPO.items():
        yield case("dpo", f"point {point}", list(POINTS[point]), published={"value": v, "dlogps": [gw, gl]})
    yield case("dpo", "16 pairs of a step of 20", random_rows(11, 32), units=20)
    yield case("dpo", "another beta", random_rows(12, 16), {"beta": 0.5})
    yield case("dpo", "equal log-ratios: ln 2", [desirable(-8.0, -9.0, 4), undesirable(-5.0, -6.0, 3)])
    for wide in (1e4, -1e4):
        pair = [desirable(-1.0, -1.0 - wide, 4), undesirable(-2.0, -2.0, 4)]
        yield case("dpo", f"a margin of {wide:.0f}", pair)


def sft_cases():
    for average in ("token", "sequence", "sum"):
        yield case("sft", f"point A, {average}", list(POINTS["A"]), {"average": average})
        yield case("sft", f"10 rows of a step of 16, {average}", random_rows(21, 10), {"average": average}, 0.0, 16, 700)
    yield case("sft", "the default is the mean over tokens", random_rows(22, 6))


# ---------------------------------------------------------------- what belongs to no single loss


def reference_points():
    """Ranks of rows, and the point that all of them together give."""
    cases = []

    def add(name, estimator, ranks, length_average=False):
        divide = (lambda r: r["tokens"]) if length_average else (lambda r: 1)
        every = [exact(r) for rank in ranks for r in rank]
        k = [r["logp"] / divide(r) if estimator == "uniform" else (r["logp"] - r["ref_logp"]) / divide(r) for r in every]
        raw = sum(k) / len(k) if k and estimator != "zero" else D(0)
        clamped = raw < 0 and estimator != "uniform"
        out = {"raw": float(raw), "value": 0.0 if clamped else float(raw), "clamped": clamped}
        cases.append(
            {"name": name, "estimator": estimator, "length_average": length_average, "ranks": ranks, "point": out}
        )

    known = [[desirable(-10.0 + k, -10.0, 4) for k in rank] for rank in ([2.0, 1.0], [-1.5, 0.0, 0.5])]
    add("the handbook's two ranks", "mismatch", known)
    assert cases[-1]["point"]["value"] == 0.4
    for i, estimator in enumerate(("mismatch", "batch_mean", "zero", "uniform")):
        add(f"three ranks, {estimator}", estimator, [random_rows(30 + i + j, 5 + j) for j in range(3)])
        add(f"per token, {estimator}", estimator, [random_rows(40 + i, 9)], True)
        add(f"no rows, {estimator}", estimator, [[], []])
        below = [[desirable(-12.0, -10.0, 4), undesirable(-10.5, -10.0, 2)]]
        add(f"a negative mean, {estimator}", estimator, below)
    return {"about": "reference points of rows spread over ranks", "cases": cases}


def saturation():
    """Where the slope falls to `tolerance` of the steepest, by bisection on the slope; nats on the loss's axis."""
    published = {
        "kto": {"0.01": "59.8644569", "0.05": "43.5654442", "0.1": "36.3689292"},
        "dpo": {"0.01": "45.9511985", "0.05": "29.4443898", "0.1": "21.9722458"},
    }
    cases = []
    for value in ("logistic", "log_sigmoid", "kahneman_tversky"):
        for beta in (0.1, 0.5):
            for tolerance in (0.01, 0.05, 0.1):
                cases.append(bound("kto", {"beta": beta, "value": value}, tolerance))
    for beta in (0.1, 0.5):
        cases += [bound("dpo", {"beta": beta}, tolerance) for tolerance in (0.01, 0.05, 0.1)]
    for c in cases:
        if c["params"]["beta"] == 0.1 and c["params"].get("value", "logistic") == "logistic":
            known = published[c["loss"]][str(c["tolerance"])]
            if abs(D(known) - D(c["learnt"])) > D("6e-8"):
                sys.exit(f"{c}: published {known}")
    return {"about": "bounds of the zones, nats", "cases": cases}


def bound(loss, params, tolerance):
    """Slopes are central differences of the loss on a row (or pair) whose gain (or margin) is x."""

    def slope(x):
        def at(x):
            if loss == "dpo":
                return dpo(params, [exact(desirable(0.0, 0.0, 1)) | {"logp": x}, exact(undesirable(0.0, 0.0, 1))], 0)
            return kto(params, [exact(desirable(0.0, 0.0, 1)) | {"logp": x}], 0)

        return abs(at(x + STEP) - at(x - STEP)) / (2 * STEP)

    def edge(sign, steepest):
        """None if even at 1e6 nats the slope is above."""
        low, high = D("0.02"), D(10) ** 6
        if slope(sign * high) >= D(tolerance) * steepest:
            return None
        for _ in range(120):
            middle = (low + high) / 2
            low, high = (middle, high) if slope(sign * middle) >= D(tolerance) * steepest else (low, middle)
        return float(sign * low)

    one = exact(desirable(0.0, 0.0, 1))
    right = D(params["beta"]) if loss == "dpo" else kto_steepest(params, one, 1)
    wrong = D(params["beta"]) if loss == "dpo" else kto_steepest(params, one, -1)
    return {
        "loss": loss,
        "params": params,
        "tolerance": tolerance,
        "learnt": edge(1, right),
        "given_up": edge(-1, wrong),
        "max_slope": float(max(right, wrong)),
    }


def weighting():
    cases = []
    for n_d, n_u, target in ((100, 1000, 1.0), (100, 1000, 1.5), (1000, 100, 1.0), (1000, 100, 1.25), (7, 7, 1.0), (7, 7, 1.5), (1, 3, 1.0)):
        if n_d <= n_u:
            weights = {"desirable": float(D(target) * n_u / n_d), "undesirable": 1.0}
        else:
            weights = {"desirable": 1.0, "undesirable": float(n_d / (D(target) * n_u))}
        cases.append({"desirable": n_d, "undesirable": n_u, "target": target, "weights": weights})
    # the paper's example: 1:10 gives a desirable weight in [10, 15]
    assert cases[0]["weights"]["desirable"] == 10 and cases[1]["weights"]["desirable"] == 15
    return {"about": "class weights from counts", "cases": cases}


def main():
    files = {f"{loss}.json": {"loss": loss, "cases": list(cases)} for loss, cases in (
        ("kto", kto_cases()), ("dpo", dpo_cases()), ("sft", sft_cases()))}
    files |= {"reference_point.json": reference_points(), "saturation.json": saturation(), "weighting.json": weighting()}
    here = Path(__file__).parent
    for name, content in files.items():
        text = json.dumps(content, indent=1) + "\n"
        if "--check" in sys.argv:
            if (here / name).read_text() != text:
                sys.exit(f"{name} is not what make.py makes")
        else:
            (here / name).write_text(text)


if __name__ == "__main__":
    main()
