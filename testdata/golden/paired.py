"""Paired losses with a reference (handbook 2.3). A unit is (chosen, rejected); `r` is the log-ratio in nats."""

from common import D, capped_exp, ls, sigmoid
from engine import beta_of, loss, shaped


def delta(p, unit):
    w, l = unit
    return shaped(p, w["r"]) - shaped(p, l["r"])


def smoothed(p, u, default):
    """The two terms of cdpo on u = beta delta."""
    e = D(p.get("label_smoothing", default))
    return [-(1 - e) * ls(u), -e * ls(-u)]


@loss("dpo", 2)
def dpo(p, unit):
    return [-ls(beta_of(p, unit[0]) * delta(p, unit))]


@loss("cdpo", 2, owns=("label_smoothing",))
def cdpo(p, unit):
    return smoothed(p, beta_of(p, unit[0]) * delta(p, unit), 0.2)


@loss("robust_dpo", 2, owns=("label_smoothing",))
def robust_dpo(p, unit):
    e = D(p.get("label_smoothing", 0.1))
    u = beta_of(p, unit[0]) * delta(p, unit)
    return [-(1 - e) * ls(u) / (1 - 2 * e), e * ls(-u) / (1 - 2 * e)]


@loss("ipo", 2, reward=lambda p, r: D(p.get("tau", 0.1)) * r["r"], owns=("length_average",))
def ipo(p, unit):
    w, l = unit
    n_w, n_l = (w["tokens"], l["tokens"]) if p.get("length_average", True) else (1, 1)
    return [(shaped(p, w["r"]) / n_w - shaped(p, l["r"]) / n_l - 1 / (2 * D(p.get("tau", 0.1)))) ** 2]


@loss("hinge", 2)
def hinge(p, unit):
    return [max(D(0), 1 - beta_of(p, unit[0]) * delta(p, unit))]


@loss("exo", 2, owns=("label_smoothing",))
def exo(p, unit):
    e = D(p.get("label_smoothing", 1e-3))
    u = beta_of(p, unit[0]) * delta(p, unit)
    return [sigmoid(u) * (ls(u) - (1 - e).ln()), sigmoid(-u) * (ls(-u) - e.ln())]


@loss("nca", 2)
def nca(p, unit):
    u_w, u_l = (beta_of(p, r) * r["r"] for r in unit)
    return [-ls(u_w), -ls(-u_w) / 2, -ls(-u_l) / 2]


@loss("sppo", 2)
def sppo(p, unit):
    target = (D(p.get("win_probability", 1.0)) - D("0.5")) / beta_of(p, unit[0])
    return [(unit[0]["r"] - target) ** 2, (unit[1]["r"] + target) ** 2]


@loss("apo_zero", 2)
def apo_zero(p, unit):
    u_w, u_l = (beta_of(p, r) * r["r"] for r in unit)
    return [sigmoid(-u_w), sigmoid(u_l)]


@loss("apo_down", 2)
def apo_down(p, unit):
    w, l = unit
    beta = beta_of(p, w)
    return [sigmoid(beta * w["r"]), sigmoid(-beta * (w["r"] - l["r"]))]


@loss("discopop", 2, beta=0.05)
def discopop(p, unit):
    k = beta_of(p, unit[0], 0.05) * delta(p, unit)
    m = k / D(p.get("tau", 0.05))
    return [sigmoid(-m) * -ls(k), capped_exp(ls(m) - k)]


@loss("sigmoid_norm", 2, beta=5.0)
def sigmoid_norm(p, unit):
    w, l = unit
    return [-ls(beta_of(p, w, 5.0) * (shaped(p, w["r"]) / w["tokens"] - shaped(p, l["r"]) / l["tokens"]))]


@loss("dpop", 2)
def dpop(p, unit):
    w, l = unit
    below = D(p.get("penalty_weight", 50.0)) * max(D(0), -w["r"])
    beta, margin = beta_of(p, w), w["r"] - l["r"]
    if p.get("penalty") == "outside":
        return [-ls(beta * margin), below]
    return [-ls(beta * (margin - below))]


def ranks(keys):
    """Ascending, ties by index."""
    return sorted(range(len(keys)), key=lambda i: (keys[i], i))


def unmoved(r):
    """Which rows meet is decided once, before a difference moves one."""
    before = r.get("at", r)
    return before["logp"], before["logp"] - before["ref_logp"]


@loss("aot", 2, owns=("label_smoothing",), coupled=True)
def aot(p, rows):
    pairs = list(zip(rows[::2], rows[1::2], strict=True))
    policy = ranks([unmoved(w)[0] - unmoved(l)[0] for w, l in pairs])
    reference = ranks([w["ref_logp"] - l["ref_logp"] for w, l in pairs])
    out = [None] * len(pairs)
    for i, j in zip(policy, reference, strict=True):
        d = (pairs[i][0]["logp"] - pairs[i][1]["logp"]) - (pairs[j][0]["ref_logp"] - pairs[j][1]["ref_logp"])
        out[i] = smoothed(p, beta_of(p, pairs[i][0]) * d, 0.0)
    return out


@loss("aot_unpaired", 2, owns=("label_smoothing",), coupled=True)
def aot_unpaired(p, rows):
    chosen, rejected = rows[::2], rows[1::2]
    out = [None] * len(chosen)
    for i, j in zip(*(ranks([unmoved(r)[1] for r in side]) for side in (chosen, rejected)), strict=True):
        out[i] = smoothed(p, beta_of(p, chosen[i]) * (chosen[i]["r"] - rejected[j]["r"]), 0.0)
    return out


@loss("rpo", 2, owns=("nll_weight",))
def rpo(p, unit):
    return dpo(p, unit) + [D(p.get("nll_weight", 1.0)) * -unit[0]["a"]]


@loss("bco_pair", 2)
def bco_pair(p, unit):
    u_w, u_l = (beta_of(p, r) * (r["r"] - r["z0"]) for r in unit)
    return [-ls(u_w), -ls(-u_l)]
