"""Numbers and rows that every family of losses shares. Nothing here knows a loss."""

import random
import sys
from decimal import Decimal as D, getcontext

getcontext().prec = 120
getcontext().Emax, getcontext().Emin = 10**9, -(10**9)
STEP = D("1e-30")
CAP = D(80)


# ---------------------------------------------------------------- functions


def log1p(x):
    """ln(1 + x) for x >= 0, to full relative precision however small x is."""
    return (1 + x).ln() if x > D("1e-40") else x - x * x / 2 + x**3 / 3


def ls(x):
    """ln sigmoid(x)"""
    return min(x, D(0)) - log1p((-abs(x)).exp())


def sigmoid(x):
    e = (-abs(x)).exp()
    return 1 / (1 + e) if x >= 0 else e / (1 + e)


def log1mexp(a):
    """ln(1 - e^a), a < 0"""
    return (1 - a.exp()).ln()


def capped_exp(x):
    """e^x, continued linearly above 80 (the project's rule wherever an exponent comes from data)."""
    return x.exp() if x <= CAP else CAP.exp() * (1 + x - CAP)


def clamp(x, low, high):
    return min(max(x, low), high)


def mean(numbers):
    return sum(numbers) / D(len(numbers))


# ---------------------------------------------------------------- published numbers


def close(known, ours):
    """Is `ours` what was printed as `known`? To half a unit of its last digit; a short one is meant exactly."""
    digits = len(D(known).normalize().as_tuple().digits)
    half_a_unit = D("0.51") * D(10) ** D(known).as_tuple().exponent
    # the handbook's numbers were made in float64, so twelve digits are not always the twelve nearest
    exact = abs(D(known)) * D("6e-12") + D("1e-18")
    return abs(D(known) - ours) <= (exact if digits < 6 else max(half_a_unit, exact))


def check(what, known, ours):
    if not close(known, D(ours)):
        sys.exit(f"{what}: published {known}, this script {float(ours)!r}")


# ---------------------------------------------------------------- rows


def row(label, logp, ref, tokens, **more):
    return {"logp": logp, "ref_logp": ref, "tokens": tokens, "label": label} | more


def desirable(logp, ref, tokens, **more):
    return row("desirable", logp, ref, tokens, **more)


def undesirable(logp, ref, tokens, **more):
    return row("undesirable", logp, ref, tokens, **more)


# The handbook's three pairs: chosen, rejected.
POINTS = {
    "A": (desirable(-20.0, -22.0, 10), undesirable(-18.0, -17.0, 6)),
    "B": (desirable(-31.5, -30.0, 12), undesirable(-25.25, -27.5, 9)),
    "C": (desirable(-140.0, -20.0, 10), undesirable(-15.0, -25.0, 10)),
}


def random_rows(seed, n, spread=8.0, shortest=1):
    """Dyadic numbers, so that every reader of JSON sees the same bits. Every other row is desirable (chosen)."""
    rng = random.Random(seed)
    rows = []
    for i in range(n):
        ref = -rng.randrange(64, 64 * 80) / 64
        logp = min(ref + round(rng.gauss(0, spread) * 64) / 64, -1 / 64)
        tokens = rng.randrange(shortest, 60)
        rows.append(row("desirable" if i % 2 == 0 else "undesirable", logp, ref, tokens))
    return rows


def with_weights(rows, seed, size, keys=("weight", "beta_scale")):
    """Gives the first row of each unit its own dyadic `keys`; a rejected row has none, the pair's are the chosen's."""
    rng = random.Random(seed)
    return [r | ({k: rng.randrange(1, 17) / 8 for k in keys} if i % size == 0 else {}) for i, r in enumerate(rows)]


def far_pairs(far):
    """Each of the two log-ratios at both ends, tokens 4."""
    pairs = []
    for w, l in ((far, 0.0), (-far, 0.0), (0.0, far), (0.0, -far)):
        for make, r in ((desirable, w), (undesirable, l)):
            lp = -1.0 if r >= 0 else -1.0 + r
            pairs.append(make(lp, lp - r, 4))
    return pairs


def token_rows(seed, n, spread=0.5, collisions=False, long=7, advantages=True):
    """Rows with columns per token: (rows, columns). All dyadic; a row's logp is the exact sum of its tokens'."""
    rng = random.Random(seed)
    rows, columns = [], {"logps": [], "ref_logps": [], "old_logps": []} | ({"log_collisions": []} if collisions else {})
    for i in range(n):
        tokens = rng.randrange(1, long + 1)
        logps = [-rng.randrange(1, 64 * 4) / 64 for _ in range(tokens)]
        near = lambda: [min(lp + round(rng.gauss(0, spread) * 64) / 64, -1 / 64) for lp in logps]
        refs, olds = near(), near()
        columns["logps"] += logps
        columns["ref_logps"] += refs
        columns["old_logps"] += olds
        if collisions:
            columns["log_collisions"] += [-rng.randrange(1, 64 * 2) / 64 for _ in range(tokens)]
        more = {"old_logp": sum(olds)}
        if advantages:
            more["advantage"] = rng.randrange(-128, 129) / 64
        rows.append(row("desirable" if i % 2 == 0 else "undesirable", sum(logps), sum(refs), tokens, **more))
    return rows, columns
