"""From a formula to a case: modifiers, differences, normaliser, the checks against published numbers.

A formula takes the parameters and the rows of one unit (a row, or chosen and rejected) and returns the terms whose sum
is the unit's loss. It never sees a modifier and never gives a derivative: each is a central difference here.
Whatever is constant by definition (a reference point, the weights of WPO, CISPO's ratio) reads `at(row)`, the row as it
was before the difference moved it.
"""

import sys
from dataclasses import dataclass
from typing import Callable

from common import D, STEP, capped_exp, check, clamp, ls

LOSSES = {}


@dataclass
class Loss:
    terms: Callable  # (params, unit) -> terms; of a coupled loss (params, all units) -> a list of terms per unit
    size: int  # rows a unit
    beta: float
    reward: Callable  # (params, row) -> nats
    owns: tuple  # modifiers' names that are parameters of the loss itself
    by_tokens: Callable  # params -> is the normaliser the count of tokens, not of units?
    per_token: bool
    coupled: bool


def loss(name, size, beta=0.1, reward=None, owns=(), by_tokens=lambda p: False, per_token=False, coupled=False):
    def register(terms):
        usual = lambda p, r: beta_of(p, r, beta) * r["r"]
        LOSSES[name] = Loss(terms, size, beta, reward or usual, owns, by_tokens, per_token, coupled)
        return terms

    return register


def no_reward(p, r):
    return D(0)


def beta_of(p, r, default=0.1):
    return D(p.get("beta", default)) * r["beta_scale"]


def at(r):
    return r.get("at", r)


# ---------------------------------------------------------------- rows as the formulas see them

COLUMNS = {"lps": "logps", "refs": "ref_logps", "olds": "old_logps", "cols": "log_collisions"}
DEFAULTS = {"old_logp": 0, "score": 0, "advantage": 0, "weight": 1, "beta_scale": 1}


def exact(rows, size, z0=0.0, columns=None):
    """The exact values of the float64 inputs; a pair's weight and beta_scale are its chosen row's."""
    out, start = [], 0
    for i, r in enumerate(rows):
        e = {k: D(v) for k, v in (DEFAULTS | r).items() if k not in ("label", "group")}
        e |= {"label": r["label"], "z0": D(r.get("z0", z0)), "lps": None}
        if columns:
            for key, name in COLUMNS.items():
                e[key] = [D(v) for v in columns.get(name, [])[start : start + r["tokens"]]]
            start += r["tokens"]
        if i % size:
            e |= {k: out[i - i % size][k] for k in ("weight", "beta_scale")}
        out.append(e)
    return out


def log_ratios(spec, p, unit):
    """Adds `r` and `a` (the mean log-probability): humanline, ld_alpha, length_average."""
    out = []
    least = min(int(r["tokens"]) for r in unit)
    for r in unit:
        r = dict(r)
        r["a"] = r["logp"] / r["tokens"]
        if p.get("humanline") and not spec.per_token:
            low, high = humanline_ends(p)
            r["r"] = sum(clamp(lp - ref, low, high) for lp, ref in zip(r["lps"], r["refs"], strict=True))
        else:
            if "ld_alpha" in p:
                shares = [1 if t < least else D(p["ld_alpha"]) for t in range(int(r["tokens"]))]
                r["logp"] = sum(s * lp for s, lp in zip(shares, r["lps"], strict=True))
                r["ref_logp"] = sum(s * ref for s, ref in zip(shares, r["refs"], strict=True))
            r["r"] = r["logp"] if p.get("reference_policy") == "uniform" else r["logp"] - r["ref_logp"]
        if p.get("length_average") and "length_average" not in spec.owns:
            r["r"] /= r["tokens"]
        out.append(r)
    return out


def humanline_ends(p):
    return D(p.get("humanline_low", -1.0)), D(p.get("humanline_high", 1.5))


def shaped(p, r):
    """g(r) of the f-divergences."""
    kind = p.get("f_divergence", "reverse_kl")
    if kind == "reverse_kl":
        return r
    if kind == "forward_kl":
        return 1 - capped_exp(-r)
    if kind == "js":
        return D(2).ln() + ls(r)
    a = D(p.get("f_alpha", 0.5))
    return r if a == 1 else (capped_exp((a - 1) * r) - 1) / (a - 1)


def swapped(unit):
    if len(unit) == 2:
        return unit[::-1]
    other = {"desirable": "undesirable", "undesirable": "desirable"}
    return [unit[0] | {"label": other[unit[0]["label"]]}]


def wpo_weight(p, unit):
    if p["wpo"] == "plain":
        return min(D(1), sum(at(r)["logp"] / r["tokens"] for r in unit).exp())
    w = D(1)
    for r in map(at, unit):
        w *= (sum(lp - c for lp, c in zip(r["lps"], r["cols"], strict=True)) / r["tokens"]).exp()
    return w


def unit_terms(spec, p, rows):
    """The terms of each unit of `rows` (one unit, or all of a coupled loss's), modifiers and weights included."""
    unit = log_ratios(spec, p, rows)
    if spec.coupled:
        return spec.terms(p, unit)
    terms = spec.terms(p, unit)
    if "label_smoothing" in p and "label_smoothing" not in spec.owns:
        e = D(p["label_smoothing"])
        terms = [(1 - e) * t for t in terms] + [e * t for t in spec.terms(p, swapped(unit))]
    if "nll_weight" in p and "nll_weight" not in spec.owns and unit[0]["label"] == "desirable":
        terms = terms + [D(p["nll_weight"]) * -unit[0]["a"]]
    factor = unit[0]["weight"] * (wpo_weight(p, unit) if p.get("wpo", "off") != "off" else 1)
    return [[factor * t for t in terms]]


# ---------------------------------------------------------------- differences


def moved(rows, i, t, step):
    out = [r | {"at": r} for r in rows]
    out[i]["logp"] += step
    if t is not None:
        out[i]["lps"] = [lp + (step if k == t else 0) for k, lp in enumerate(out[i]["lps"])]
    return out


@dataclass
class Evaluation:
    """Nothing is divided by the normaliser yet, and all but the rewards come as terms."""

    values: list
    slopes: list
    rewards: list
    per_token: bool


def evaluate(name, p, rows):
    """`rows` are exact."""
    spec = LOSSES[name]
    per_token = spec.per_token or bool(p.get("humanline")) or "ld_alpha" in p or p.get("wpo") == "exact"
    size = len(rows) if spec.coupled else spec.size
    out = Evaluation([], [], [], per_token)
    for start in range(0, len(rows), size):
        unit = rows[start : start + size]
        out.values += unit_terms(spec, p, unit)
        for i, r in enumerate(unit):
            for t in range(int(r["tokens"])) if per_token else (None,):
                up, down = (sum(unit_terms(spec, p, moved(unit, i, t, s)), []) for s in (STEP, -STEP))
                out.slopes.append([(u - d) / (2 * STEP) for u, d in zip(up, down, strict=True)])
        out.rewards += [spec.reward(p, r) for r in log_ratios(spec, p, unit)]
    return out


def scale_of(results):
    """The largest term of those results that are small against their own terms: a reader's float64 knows no better."""
    scale = D(0)
    for terms in results:
        largest = max(map(abs, terms))
        if abs(sum(terms)) * 20 < largest:
            scale = max(scale, largest)
    return scale


def case(name, title, rows, params=None, z0=0.0, units=None, tokens=None, published=None, columns=None, more=None):
    spec = LOSSES[name]
    p = params or {}
    ours = evaluate(name, p, exact(rows, spec.size, z0, columns))
    units = units if units is not None else len(rows) // spec.size
    tokens = tokens if tokens is not None else sum(r["tokens"] for r in rows)
    divisor = D(tokens if spec.by_tokens(p) else units)
    return finish(title, p, rows, z0, units, tokens, columns, ours, divisor, published, more)


def number(x):
    """Rounded once; never -0.0."""
    return float(x) + 0.0


def finish(title, p, rows, z0, units, tokens, columns, ours, divisor, published=None, more=None):
    values, slopes = [sum(v) for v in ours.values], [sum(s) / divisor for s in ours.slopes]
    total = sum(values) / divisor
    for s in slopes:
        if D("1e-330") < abs(s) < D("1e-75"):
            sys.exit(f"{title}: a slope of {s:.3e} is below what these differences resolve")
    if published:
        check(f"{title}: loss", published["value"], total)
        for known, s in zip(published.get("dlogps", []), slopes, strict="dlogps" in published):
            check(f"{title}: slope", known, s)
    result = {"name": title, "params": p, "rows": rows}
    if columns:
        result["tokens"] = columns
    result |= {
        "reference_point": z0,
        "normalizer": {"units": float(units), "tokens": float(tokens)},
        "loss": number(total),
        "values": [number(v) for v in values],
        "token_dlogps" if ours.per_token else "dlogps": [number(s) for s in slopes],
        "rewards": [number(r) for r in ours.rewards],
    }
    scale = scale_of(ours.values + [[t / divisor for t in s] for s in ours.slopes] + [[v / divisor for v in values]])
    if scale:
        result["scale"] = number(scale)
    return result | (more or {}) | ({"published": published} if published else {})
