"""What the papers prove, as numbers (handbook 3, 5, 6): each is worked out here and checked against the printed one."""

import math
import sys

from common import POINTS, STEP, D, check, desirable, ls, undesirable
from engine import LOSSES, evaluate, exact, number
from saturation import bisect, slope_at


def contradictory():
    """Two outputs, a share p > 1/2 prefers a. DPO's optimum by bisection on the slope of its expected loss."""
    out = []
    goldens = [(0.6, 1.0, 0.35, "0.4468085106"), (0.6, 0.1, 0.01, "0.3680785414"), (0.7, 0.5, 0.1, "0.3769230769")]
    for p, beta, ref_a, known in goldens:
        # the handbook's p, beta, ref_a are the decimals
        share, b, ref = D(str(p)), D(str(beta)), D(str(ref_a))
        loss = lambda x: -share * ls(b * x) - (1 - share) * ls(-b * x)
        margin = bisect(lambda x: loss(x + STEP) < loss(x - STEP), D(0), 100 / b)
        odds = ref / (1 - ref) * margin.exp()
        dpo = odds / (1 + odds)
        formula = ref * (share / (1 - share)) ** (1 / b)
        assert abs(formula / (formula + 1 - ref) - dpo) < D("1e-20")
        check(f"contradictory preferences {p} {beta} {ref_a}", known, dpo)
        minority = share ** (1 / b) * ref < (1 - share) ** (1 / b) * (1 - ref)
        assert minority == (dpo < D("0.5"))
        kto = kto_limit(p, ref_a, beta, 1.0)
        assert kto == 1.0
        out.append({"p": p, "beta": beta, "reference": ref_a, "dpo": number(dpo), "minority": minority, "kto": kto})
    return out


def kto_limit(p, ref_a, beta, undesirable_weight):
    """Where pi(a) goes under KTO from pi_ref: the sign of the push along the way; z0 = KL(pi || pi_ref), fixed."""
    q, lam = ref_a, undesirable_weight

    def push(theta):
        a = 1 / (1 + math.exp(-theta))
        r_a, r_b = math.log(a / q), math.log((1 - a) / (1 - q))
        z0 = a * r_a + (1 - a) * r_b
        bend = lambda r: beta * math.exp(-abs(beta * (r - z0))) / (1 + math.exp(-abs(beta * (r - z0)))) ** 2
        on_a = (p - (1 - p) * lam) * bend(r_a) * (1 - a)
        on_b = ((1 - p) - p * lam) * bend(r_b) * a
        return on_a - on_b

    start = math.log(q / (1 - q))
    up = push(start + 1e-9) > 0
    end = 30.0 if up else -30.0
    for i in range(1, 3000):
        theta = start + (end - start) * i / 3000
        if (push(theta) > 0) != up:
            return 1 / (1 + math.exp(-theta))
    return 1.0 if up else 0.0


def drift():
    """lambda*: from which undesirable weight KTO turns away from the majority."""
    out = []
    for p, ref_a, known, towards, away in ((0.6, 0.01, "1.512820513", 1.5, 1.6), (0.6, 0.2, "2", 1.8, 2.25)):
        share, ref = D(str(p)), D(str(ref_a))
        star = (share - ref) / (1 - share - ref)
        check(f"lambda* {p} {ref_a}", known, star)
        limits = [{"undesirable_weight": w, "reaches": kto_limit(p, ref_a, 0.1, w)} for w in (towards, away)]
        if [x["reaches"] for x in limits] != [1.0, 0.0]:
            sys.exit(f"lambda* {p} {ref_a}: {limits}")
        out.append({"p": p, "reference": ref_a, "beta": 0.1, "threshold": number(star), "limits": limits})
    return out


def reward_shift():
    """h added to both log-ratios of point A: kto's values, and which losses do not notice."""
    out = []
    for z0, d, u in ((0.3, "0.432907095", "0.492500562"), (1.3, "0.457602059", None)):
        values = []
        for r, known in zip(POINTS["A"], (d, u), strict=True):
            moved = r | {"ref_logp": r["ref_logp"] - 1.0}
            value = sum(evaluate("kto", {}, exact([moved], 1, z0)).values[0])
            if known:
                check(f"reward shift, z0 {z0}", known, value)
            values.append(number(value))
        out.append({"loss": "kto", "h": 1.0, "reference_point": z0, "desirable": values[0], "undesirable": values[1]})
    return out


def invariance():
    """Does the loss of point A stay when both log-ratios move by 1?"""
    # what a reader may rely on (handbook 5); ipo and sigmoid_norm divide by lengths that differ
    blind = {"dpo", "cdpo", "robust_dpo", "hinge", "exo", "discopop", "rpo"}
    out = []
    for name in sorted(blind) + ["ipo", "sigmoid_norm", "nca", "sppo", "apo_zero", "apo_down", "bco_pair"]:
        moved = [r | {"ref_logp": r["ref_logp"] - 1.0} for r in POINTS["A"]]
        before, after = (sum(evaluate(name, {}, exact(rows, 2)).values[0]) for rows in (POINTS["A"], moved))
        if (before == after) != (name in blind):
            sys.exit(f"{name}: reward shift gives {before} and {after}")
        out.append({"loss": name, "invariant": before == after})
    return out


# ---------------------------------------------------------------- the clamp's bias


def normal(x):
    """Phi(x) by the series of erf, and phi(x)."""
    pi = 4 * (4 * arctan(D(1) / 5) - arctan(D(1) / 239))
    density = (-x * x / 2).exp() / (2 * pi).sqrt()
    term, total, n = x, x, 1
    while abs(term) > D("1e-100"):
        n += 2
        term *= x * x / n
        total += term
    return D("0.5") + density * total, density


def arctan(x):
    term, total, n = x, x, 1
    while abs(term) > D("1e-115"):
        n += 2
        term *= -x * x
        total += term / n
    return total


def clamp():
    out = []
    goldens = [
        (0, 2, 4, "0.3989422804", "0.5"),
        (-1, 2, 4, "0.0833154706", "0.8413447461"),
        (-1, 2, 32, "0.000244505679", "0.9976611325"),
    ]
    for mu, s, m, e, p in goldens:
        q = D(s) / D(m).sqrt()
        below, density = normal(D(mu) / q)
        expected, zero = mu * below + q * density, 1 - below
        check(f"clamp {mu} {s} {m}: E", e, expected)
        check(f"clamp {mu} {s} {m}: P", p, zero)
        given = {"mean": float(mu), "deviation": float(s), "batch": m}
        out.append(given | {"expected": number(expected), "zero": number(zero)})
    return out


# ---------------------------------------------------------------- optima, single numbers, identities


def optima():
    """Where the slope vanishes, nats; by bisection on it."""
    out = []

    def add(name, params, axis, value, known=None):
        if known:
            check(f"optimum of {name}", known, value)
        out.append({"loss": name, "params": params, "axis": axis, "optimum": number(value)})

    for name, e, known in (("cdpo", 0.1, "21.9722458"), ("cdpo", 0.2, "13.8629436"), ("exo", 0.001, "69.0675478")):
        params = {"label_smoothing": e}
        slope = slope_at(name, params | {"beta": 0.1})
        add(name, params, "margin", bisect(lambda x: slope(x) < 0, D(0), D(1000)), known)
    other = {"win_probability": 0.25, "beta": 0.5}
    for name, params, known in (("nca", {}, "6.93147181"), ("sppo", {}, "5"), ("sppo", other, None)):
        slope = slope_at(name, params)
        add(name, params, "chosen", bisect(lambda x: slope(x) < 0, D(-1000), D(1000)), known)
    for params, known in (({}, "5"), ({"tau": 0.25}, "2")):
        slope = slope_at("ipo", params)
        add("ipo", params, "margin", bisect(lambda x: slope(x) < 0, D(0), D(1000)), known)
    return out


def numbers():
    """Single printed numbers that belong to no case."""
    alpha, kappa = D("0.88"), D("2.25")
    logits = [D(2), D(1), D(0)]
    lse = lambda xs: sum(x.exp() for x in xs).ln()
    logp, collision = logits[0] - lse(logits), lse([2 * x for x in logits]) - 2 * lse(logits)
    d = D("-0.3")
    ratios = [min(max(x, D(-1)), D("1.5")) for x in (D(-2), D("0.5"), D(3), D("-0.5"))]
    out = {
        "power_value_10": (D(10) ** alpha, "7.58577575"),
        "power_value_minus_10": (-kappa * D(10) ** alpha, "-17.0679954"),
        "wpo_token_logits_2_1_0": ((logp - collision).exp(), "1.3030065643"),
        "log_collision_logits_2_1_0": (collision, None),
        "logp_logits_2_1_0": (logp, None),
        "humanline_sum": (sum(ratios), "0.5"),
        "k3_minus_0.3": (d.exp() - d - 1, "0.0408182207"),
        "ln_2": (D(2).ln(), None),
    }
    for what, (value, known) in out.items():
        if known:
            check(what, known, value)
    return {what: number(value) for what, (value, _) in out.items()}


def identities():
    """The handbook's and a few more, on its points, to 100 digits. Nothing is written: a broken one ends the script."""

    def value(name, p, rows, z0=0.0):
        return sum(sum(v) for v in evaluate(name, p, exact(rows, LOSSES[name].size, z0)).values)

    def same(what, one, other, within="1e-100"):
        if abs(one - other) > D(within):
            sys.exit(f"identity {what}: {one} and {other}")

    zero = [desirable(-3.0, -3.0, 4), undesirable(-2.0, -2.0, 4)]
    same("dpo at 0", value("dpo", {}, zero), D(2).ln())
    same("nca at 0", value("nca", {}, zero), 2 * D(2).ln())
    same("kto at r = z0", value("kto", {"undesirable_weight": 3.0}, [undesirable(-2.0, -4.0, 4)], 2.0), D("1.5"))
    for rows in POINTS.values():
        for other, key in (("robust_dpo", "label_smoothing"), ("cdpo", "label_smoothing"), ("rpo", "nll_weight")):
            same(f"{other} at {key} 0", value("dpo", {}, rows), value(other, {key: 0.0}, rows))
        same("dpop without a penalty", value("dpo", {}, rows), value("dpop", {"penalty_weight": 0.0}, rows))
        same("label_smoothing on dpo", value("dpo", {"label_smoothing": 0.2}, rows), value("cdpo", {}, rows))
        same("nll_weight on dpo", value("dpo", {"nll_weight": 1.0}, rows), value("rpo", {}, rows))
        same("apo_zero in halves", value("apo_zero", {}, rows), value("kto", {}, rows))
        same("apo_zero_unpaired is kto at 0", value("apo_zero_unpaired", {}, rows), value("kto", {}, rows))
        same("bco is kto log_sigmoid", value("bco", {}, rows, 0.5), value("kto", {"value": "log_sigmoid"}, rows, 0.5))
        same("bco_pair is bco twice", value("bco_pair", {}, rows, 0.5), value("bco", {}, rows, 0.5))
        halves = [r | {"logp": r["logp"] / 2, "ref_logp": r["ref_logp"] / 2} for r in rows]
        same("diffusion_dpo is dpo of halves", value("diffusion_dpo", {"beta": 0.1}, rows), value("dpo", {}, halves))
        same("diffusion_kto is kto", value("diffusion_kto", {"beta": 0.1}, rows), value("kto", {}, rows))
        same("aot of one pair", value("aot", {}, rows), value("dpo", {}, rows))
        same("aot_unpaired of one pair", value("aot_unpaired", {}, rows), value("dpo", {}, rows))
        near = {"alpha": 1e-12, "gamma": 1.375}
        same("alphapo near simpo", value("alphapo", near, rows), value("simpo", {}, rows), "1e-8")
        same("alphapo at 0", value("alphapo", near | {"alpha": 0.0}, rows), value("simpo", {}, rows), "1e-14")


def theory():
    identities()
    return {
        "about": "the papers' theorems as numbers",
        "contradictory_preferences": contradictory(),
        "drift": drift(),
        "reward_shift": reward_shift(),
        "invariance": invariance(),
        "clamp": clamp(),
        "optima": optima(),
        "numbers": numbers(),
    }
