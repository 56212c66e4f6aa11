"""A reward model's pairs and diffusion's (handbook 2.8); diffusion_kto stands with the unpaired losses."""

import random

from common import D, desirable, far_pairs, ls, undesirable, with_weights
from engine import beta_of, case, loss


@loss("bradley_terry", 2, reward=lambda p, r: r["logp"])
def bradley_terry(p, unit):
    """logp is the score f of the reward head."""
    w, l = unit
    margin = D(p.get("margin", 0.0)) + D(p.get("margin_scale", 0.0)) * (w["score"] - l["score"])
    fit = -ls(w["logp"] - l["logp"] - margin)
    return [fit, D(p.get("centering", 0.0)) * (w["logp"] + l["logp"]) ** 2]


@loss("diffusion_dpo", 2, beta=5000.0, reward=lambda p, r: beta_of(p, r, 5000.0) * r["r"] / 2)
def diffusion_dpo(p, unit):
    """logp = -e, ref_logp = -e of the reference."""
    w, l = unit
    return [-ls(beta_of(p, w, 5000.0) / 2 * (w["r"] - l["r"]))]


# ---------------------------------------------------------------- cases


def scored(seed, n, unit=64, spread=3.0, offset=0.0):
    """Pairs of dyadic scores around `offset`; the reference has the same spread."""
    rng = random.Random(seed)
    rows = []
    for i in range(n):
        logp, ref = (round(rng.gauss(0, spread) * unit) / unit + offset for _ in range(2))
        rows.append((desirable, undesirable)[i % 2](logp, ref, 1))
    return rows


def bradley_terry_cases():
    pair = [desirable(1.2, 0.0, 1), undesirable(0.3, 0.0, 1)]
    for params, v in (({}, "0.3411538747"), ({"margin": 0.5}, "0.5130152524"), ({"centering": 0.01}, "0.3636538747")):
        title = "".join(f", {k} {v}" for k, v in params.items())
        yield case("bradley_terry", f"the handbook's pair{title}", pair, params, published={"value": v})
    yield case("bradley_terry", "16 pairs of a step of 20", scored(5000, 32), units=20)
    rated = [r | {"score": (i * 7 % 11) / 2 - 2.0} for i, r in enumerate(scored(5001, 12))]
    yield case("bradley_terry", "a margin of the ratings", rated, {"margin_scale": 0.25, "margin": 0.125})
    yield case("bradley_terry", "all three", rated, {"margin_scale": 1.5, "margin": 0.5, "centering": 0.0625})
    ends = ((1e4, 0.0), (-1e4, 0.0), (0.0, 1e4), (0.0, -1e4))
    far = [f(s, 0.0, 1) for w, l in ends for f, s in ((desirable, w), (undesirable, l))]
    yield case("bradley_terry", "margins of 10000", far, {"centering": 0.01})
    yield case("bradley_terry", "equal scores: ln 2", [desirable(0.75, 0.0, 1), undesirable(0.75, 0.0, 1)])
    weighted = with_weights(scored(5002, 12), 4, 2, ("weight",))
    yield case("bradley_terry", "each pair its own weight", weighted, {"centering": 0.01})


def diffusion_dpo_cases():
    pair = [desirable(-0.12, -0.1203, 1), undesirable(-0.1201, -0.1202, 1)]
    yield case("diffusion_dpo", "the handbook's pair", pair, published={"value": "0.4740769842"})
    small = lambda seed, n: scored(seed, n, 2**16, 2.0**-10, -0.125)
    yield case("diffusion_dpo", "16 pairs of a step of 20", small(5100, 32), units=20)
    yield case("diffusion_dpo", "beta 2000", small(5101, 12), {"beta": 2000.0})
    yield case("diffusion_dpo", "margins of 10000", far_pairs(1e4))
    yield case("diffusion_dpo", "equal errors: ln 2", [desirable(-0.125, -0.125, 1), undesirable(-0.25, -0.25, 1)])
    yield case("diffusion_dpo", "each pair its own weight and beta_scale", with_weights(small(5102, 12), 6, 2))


def files():
    return {"bradley_terry": bradley_terry_cases(), "diffusion_dpo": diffusion_dpo_cases()}
