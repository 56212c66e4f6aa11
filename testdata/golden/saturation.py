"""Zones and their bounds, found on the slope itself by bisection: no bound is written down here but to be checked."""

import sys

from common import STEP, D, check, desirable, undesirable
from engine import LOSSES, beta_of, case, evaluate, exact, log_ratios

TOLERANCE = D("0.01")
CHORD = D(0.001)


def kto_steepest(p, r, gain):
    """The largest |dL/dr| on the side where the row stands."""
    weight = D(p.get("desirable_weight" if r["label"] == "desirable" else "undesirable_weight", 1.0))
    alpha, kappa = D(p.get("value_alpha", 0.88)), D(p.get("value_loss_aversion", 2.25))
    v = {
        "logistic": D("0.25"),
        "log_sigmoid": D(1),
        "identity": D(1),
        "hinge": D(1),
        "kahneman_tversky": CHORD ** (alpha - 1) * (1 if gain >= 0 else kappa),
    }[p.get("value", "logistic")]
    n = r["tokens"] if p.get("length_average") else 1
    return weight * D(p.get("beta", 0.1)) * v / n


def zones(name, made):
    """Of each row of a case of kto, dpo or sft: is the slope below TOLERANCE of the steepest, and on which side?"""
    spec, p, out = LOSSES[name], made["params"], []
    rows = exact(made["rows"], spec.size, made["reference_point"])
    for start in range(0, len(rows), spec.size):
        unit = log_ratios(spec, p, rows[start : start + spec.size])
        slope = abs(sum(evaluate(name, p, rows[start : start + spec.size]).slopes[0]))
        if name == "sft":
            gain, steepest = D(0), D(0)
        elif name == "dpo":
            gain, steepest = unit[0]["r"] - unit[1]["r"], beta_of(p, unit[0])
        else:
            gain = (1 if unit[0]["label"] == "desirable" else -1) * (unit[0]["r"] - unit[0]["z0"])
            steepest = kto_steepest(p, unit[0], gain)
        active = steepest == 0 or slope >= TOLERANCE * steepest
        out += ["active" if active else "learnt" if gain > 0 else "given_up"] * spec.size
    return out


def zoned(name, *arguments, published=None, **more):
    """A case with the zones of its rows."""
    made = case(name, *arguments, published=published, **more)
    made["zones"] = zones(name, made)
    return made | ({"published": made.pop("published")} if published else {})


# ---------------------------------------------------------------- bounds


def slope_at(name, p):
    """The signed slope along the loss's axis: the chosen (desirable) row's logp is x, all else 0, one token each."""
    spec = LOSSES[name]
    rows = exact([desirable(0.0, 0.0, 1), undesirable(0.0, 0.0, 1)][: spec.size], spec.size)

    def slope(x):
        def at(x):
            return sum(spec.terms(p, log_ratios(spec, p, [rows[0] | {"logp": x}, *rows[1:]])))

        return (at(x + STEP) - at(x - STEP)) / (2 * STEP)

    return slope


def bisect(above, low, high):
    """The last x (from low towards high) where `above` still holds; None if it holds at `high`."""
    if above(high):
        return None
    for _ in range(120):
        middle = (low + high) / 2
        low, high = (middle, high) if above(middle) else (low, middle)
    return low


def steepest_of(name, p, slope):
    """The largest |slope| on the right and on the wrong side of the axis."""
    if name == "kto":
        one = exact([desirable(0.0, 0.0, 1)], 1)[0]
        return kto_steepest(p, one, 1), kto_steepest(p, one, -1)
    if name == "apo_zero_unpaired":
        top = abs(slope(D(0)))
    elif name == "exo":
        low, high = D(-200) / D(p["beta"]), D(0) + 2 / D(p["beta"])
        for _ in range(250):
            a, b = low + (high - low) / 3, high - (high - low) / 3
            low, high = (a, high) if abs(slope(a)) < abs(slope(b)) else (low, b)
        top = abs(slope(low))
    else:
        top = abs(slope(D(-(10**6))))
    return top, top


def bound(name, p, tolerance):
    slope = slope_at(name, p)
    right, wrong = steepest_of(name, p, slope)
    far = D(10) ** 6
    optimum = None
    if name in ("cdpo", "exo"):
        # beyond it the loss pulls back; `learnt` is where the slope first falls, before it
        optimum = far = bisect(lambda x: slope(x) < 0, D("0.02"), 150 / D(p["beta"]))
    learnt = bisect(lambda x: abs(slope(x)) >= D(tolerance) * right, D("0.02"), far)
    given_up = bisect(lambda x: abs(slope(x)) >= D(tolerance) * wrong, D("-0.02"), D(-(10**6)))
    out = {
        "loss": name,
        "params": p,
        "tolerance": tolerance,
        "learnt": None if learnt is None else float(learnt),
        "given_up": None if given_up is None else float(given_up),
        "max_slope": float(max(right, wrong)),
    }
    return out | ({"optimum": float(optimum)} if optimum is not None else {})


KTO_BOUNDS = {0.01: "59.8644569", 0.05: "43.5654442", 0.1: "36.3689292"}
DPO_BOUNDS = {0.01: "45.9511985", 0.05: "29.4443898", 0.1: "21.9722458"}
OPTIMA = {("cdpo", 0.1): "21.9722458", ("cdpo", 0.2): "13.8629436", ("exo", 0.001): "69.0675478"}


def saturation():
    """Where the slope falls to `tolerance` of the steepest; nats on the loss's axis."""
    values = ("logistic", "log_sigmoid", "kahneman_tversky")
    wanted = [("kto", {"beta": b, "value": v}) for v in values for b in (0.1, 0.5)]
    wanted += [("dpo", {"beta": b}) for b in (0.1, 0.5)]
    for beta in (0.1, 0.5):
        wanted += [("cdpo", {"beta": beta, "label_smoothing": e}) for e in (0.1, 0.2)]
        wanted += [("robust_dpo", {"beta": beta, "label_smoothing": 0.1})]
        wanted += [("exo", {"beta": beta, "label_smoothing": 0.001})]
        wanted += [("hinge", {"beta": beta}), ("apo_zero_unpaired", {"beta": beta}), ("bco", {"beta": beta})]
        wanted += [("cpo", {"beta": beta, "nll_weight": 0.0})]
    wanted += [("simpo", {"beta": b, "gamma_beta_ratio": g}) for b, g in ((2.5, 0.55), (10.0, 0.3))]
    cases = [bound(name, p, tolerance) for name, p in wanted for tolerance in (0.01, 0.05, 0.1)]
    for c in cases:
        verify(c)
    return {"about": "bounds of the zones, nats", "cases": cases}


def same(what, ours, formula):
    if abs(D(ours) - formula) > abs(formula) * D("1e-12"):
        sys.exit(f"{what}: the closed form says {formula:.12g}, the slope {ours!r}")


def verify(c):
    """Against the handbook's closed forms and printed numbers."""
    name, p, tolerance = c["loss"], c["params"], c["tolerance"]
    what, beta = f"saturation of {name} {p} at {tolerance}", D(p["beta"])
    log_odds = ((1 - D(tolerance)) / D(tolerance)).ln() / beta
    root = 1 / D(tolerance).sqrt()
    arccosh = 2 / beta * (root + (root * root - 1).sqrt()).ln()
    value = p.get("value", "logistic")
    known, maximum = None, None
    if name in ("cdpo", "exo"):
        e = D(p["label_smoothing"])
        same(f"{what}: optimum", c["optimum"], ((1 - e) / e).ln() / beta)
    if name in ("dpo", "bco", "cpo") or value == "log_sigmoid":
        known, maximum = log_odds, beta
    elif name in ("kto", "apo_zero_unpaired") and value == "logistic":
        known, maximum = arccosh, beta / 4
    elif name == "simpo":
        known, maximum = D(p["gamma_beta_ratio"]) + log_odds, beta
    elif name == "hinge":
        known, maximum = 1 / beta, beta
    elif name == "cdpo":
        maximum = beta * (1 - D(p["label_smoothing"]))
    elif name == "robust_dpo":
        e = D(p["label_smoothing"])
        maximum = beta * (1 - e) / (1 - 2 * e)
    for ours, formula in ((c["learnt"], known), (c["max_slope"], maximum)):
        if formula is not None:
            same(what, ours, formula)
    if p["beta"] == 0.1:
        if name in ("kto", "dpo") and value == "logistic":
            check(what, (KTO_BOUNDS if name == "kto" else DPO_BOUNDS)[tolerance], c["learnt"])
        if (name, p.get("label_smoothing")) in OPTIMA:
            check(f"{what}: optimum", OPTIMA[name, p["label_smoothing"]], c["optimum"])
