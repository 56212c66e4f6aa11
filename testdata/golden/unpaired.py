"""Likelihood (handbook 2.1) and losses of one labelled row (2.2, 2.5, diffusion_kto of 2.8)."""

from common import POINTS, D, desirable, ls, random_rows, sigmoid, undesirable, with_weights
from engine import beta_of, case, loss, no_reward
from saturation import CHORD, zoned


def by_tokens(p):
    return p.get("average", "token") == "token"


@loss("csft", 1, reward=no_reward, by_tokens=by_tokens)
@loss("sft", 1, reward=no_reward, by_tokens=by_tokens)
def sft(p, unit):
    return [-unit[0]["logp"] / (unit[0]["tokens"] if p.get("average") == "sequence" else 1)]


def sign(r):
    return 1 if r["label"] == "desirable" else -1


def class_weight(p, r):
    return D(p.get("desirable_weight" if sign(r) > 0 else "undesirable_weight", 1.0))


def kt(u, alpha, kappa):
    """Kahneman-Tversky: u^alpha, -kappa (-u)^alpha, each side with its chord from the origin below 1e-3."""
    x = abs(u)
    v = CHORD ** (alpha - 1) * x if x < CHORD else x**alpha
    return v if u >= 0 else -kappa * v


def kto_reward(p, r):
    return D(0) if p.get("reference_policy") == "uniform" else beta_of(p, r) * r["r"]


@loss("kto", 1, reward=kto_reward)
def kto(p, unit):
    (r,) = unit
    kind = p.get("value", "logistic")
    alpha, kappa = D(p.get("value_alpha", 0.88)), D(p.get("value_loss_aversion", 2.25))
    u = beta_of(p, r) * sign(r) * (r["r"] - r["z0"])
    if kind == "logistic":
        return [class_weight(p, r) * sigmoid(-u)]
    if kind == "log_sigmoid":
        return [class_weight(p, r) * -ls(u)]
    if kind == "identity":
        return [class_weight(p, r) * (1 - u)]
    if kind == "hinge":
        return [class_weight(p, r) * (1 - min(u, D(1)))]
    return [class_weight(p, r) * (1 - kt(u, alpha, kappa))]


@loss("apo_zero_unpaired", 1)
def apo_zero_unpaired(p, unit):
    (r,) = unit
    return [class_weight(p, r) * sigmoid(-beta_of(p, r) * sign(r) * r["r"])]


@loss("bco", 1)
def bco(p, unit):
    (r,) = unit
    return [-ls(sign(r) * beta_of(p, r) * (r["r"] - r["z0"]))]


@loss("diffusion_kto", 1, beta=1000.0)
def diffusion_kto(p, unit):
    (r,) = unit
    return [class_weight(p, r) * sigmoid(-beta_of(p, r, 1000.0) * sign(r) * (r["r"] - r["z0"]))]


# ---------------------------------------------------------------- cases

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
VALUES = ("logistic", "log_sigmoid", "identity", "kahneman_tversky", "hinge")


def far_rows():
    return [f(lp, ref, 9) for f in (desirable, undesirable) for lp, ref in ((-1.0, -10001.0), (-10001.0, -1.0))]


def kto_cases():
    for (value, z0, side), points in PUBLISHED_KTO.items():
        for point, (v, g) in points.items():
            params = {} if value == "logistic" else {"value": value}
            title = f"point {point}, {value}, z0 {z0}, {'desirable' if side == 'D' else 'undesirable'}"
            known = {"value": v, "dlogps": [g]}
            yield zoned("kto", title, [POINTS[point][side == "U"]], params, z0, published=known)
    for value in VALUES:
        yield zoned("kto", f"32 rows of a step of 40, {value}", random_rows(1, 32), {"value": value}, 0.75, units=40)
        weights = {"value": value, "beta": 0.5, "desirable_weight": 1.0, "undesirable_weight": 3.5}
        yield zoned("kto", f"weights and beta, {value}", random_rows(2, 12), weights, 1.25)
        yield zoned("kto", f"margins of 10000, {value}", far_rows(), {"value": value})
    near = [f(-20.0 + d, -20.0, 5) for f in (desirable, undesirable) for d in (2**-8, 2**-9, -(2**-8), -(2**-9), 2**-4)]
    yield zoned("kto", "the power curve and its chord", near, {"value": "kahneman_tversky"})
    curve = {"value": "kahneman_tversky", "value_alpha": 0.5, "value_loss_aversion": 1.5, "beta": 0.25}
    yield zoned("kto", "another power curve", random_rows(3, 12), curve, 0.5)
    yield zoned("kto", "at the reference point", [f(-9.7, -10.0, 3) for f in (desirable, undesirable)], {}, -9.7 + 10.0)
    uniform = {"reference_policy": "uniform", "desirable_weight": 1.75}
    yield zoned("kto", "no reference policy", random_rows(4, 12), uniform, -38.5)
    yield zoned("kto", "no reference policy, per token", random_rows(5, 12), uniform | {"length_average": True}, -2.25)
    yield zoned("kto", "log-ratios per token", random_rows(6, 12), {"length_average": True, "beta": 2.0}, 0.125)


def sft_cases():
    for average in ("token", "sequence", "sum"):
        yield zoned("sft", f"point A, {average}", list(POINTS["A"]), {"average": average})
        title = f"10 rows of a step of 16, {average}"
        yield zoned("sft", title, random_rows(21, 10), {"average": average}, 0.0, 16, 700)
    yield zoned("sft", "the default is the mean over tokens", random_rows(22, 6))


def csft_cases():
    for average in ("token", "sequence", "sum"):
        title = f"10 rows of a step of 16, {average}"
        yield case("csft", title, random_rows(3000, 10), {"average": average}, 0.0, 16, 700)
    yield case("csft", "each row its own weight", with_weights(random_rows(3001, 8), 1, 1, ("weight",)))


def row_cases(name, seed, z0, variants):
    yield case(name, "24 rows of a step of 30", random_rows(seed, 24), {}, z0, units=30)
    for i, params in enumerate(variants):
        title = ", ".join(f"{k} {v}" for k, v in params.items())
        yield case(name, title, random_rows(seed + 1 + i, 10), params, z0)
    yield case(name, "margins of 10000", far_rows(), {}, z0)
    yield case(name, "equal log-probabilities", [f(-9.5, -9.5, 3) for f in (desirable, undesirable)], {}, z0)
    yield case(name, "each row its own weight and beta_scale", with_weights(random_rows(seed + 9, 10), seed, 1), {}, z0)


def own_points(rows):
    return [r | {"z0": (i % 5) / 4 - 0.5} for i, r in enumerate(rows)]


def apo_cases():
    """At z0 = 0 apo_zero is the sum of kto's two halves: this loss on both rows of a pair."""
    halves = {
        "A": ("0.925186815209", "-0.0247516572712", "0.0249376040193"),
        "B": ("1.09344373589", "-0.0248599006678", "0.0246862444066"),
        "C": ("1.73105243446", "-6.14413685133e-07", "0.0196611933241"),
    }
    for point, (v, *slopes) in halves.items():
        known = {"value": v, "dlogps": slopes}
        yield case("apo_zero_unpaired", f"point {point}, both rows", list(POINTS[point]), units=1, published=known)
    weights = {"beta": 0.5, "desirable_weight": 1.5, "undesirable_weight": 0.25}
    yield from row_cases("apo_zero_unpaired", 3100, 0.0, ({"beta": 0.01}, weights))


def bco_cases():
    tables = {
        0.0: {
            "A": ("1.24253552946", "-0.0450166002688", "0.0475020812521"),
            "B": ("1.58291904984", "-0.0537429845344", "0.0556013890545"),
        },
        0.5: {
            "A": ("1.24191409558", "-0.0462570154656", "0.0462570154656"),
            "B": ("1.58260930004", "-0.0549833997312", "0.0543638687237"),
        },
    }
    for z0, table in tables.items():
        for point, (v, *slopes) in table.items():
            known = {"value": v, "dlogps": slopes}
            title = f"point {point}, both rows, z0 {z0}"
            yield case("bco", title, list(POINTS[point]), {}, z0, units=1, published=known)
    yield from row_cases("bco", 3200, -1.25, ({"beta": 0.01}, {"beta": 0.5}))
    yield case("bco", "each row its own reference point", own_points(random_rows(3208, 10)), {}, 3.0)


def diffusion_kto_cases():
    """logp = -e of a denoising error around 0.1; numbers are whole multiples of 2^-16."""

    def small(seed, n):
        shrink = lambda x: x / 1024 - 0.125
        return [r | {k: shrink(r[k]) for k in ("logp", "ref_logp")} for r in random_rows(seed, n)]

    yield case("diffusion_kto", "24 rows of a step of 30", small(3300, 24), {}, 2.0**-12, units=30)
    weights = {"beta": 250.0, "desirable_weight": 1.5, "undesirable_weight": 0.25}
    yield case("diffusion_kto", "weights and beta", small(3301, 10), weights, -(2.0**-11))
    yield case("diffusion_kto", "margins of 10000", far_rows())
    yield case("diffusion_kto", "equal errors: half", [f(-0.125, -0.125, 1) for f in (desirable, undesirable)])
    weighted = with_weights(small(3302, 10), 5, 1)
    yield case("diffusion_kto", "each row its own weight and beta_scale", weighted, {}, 2.0**-12)
    own = [r | {"z0": r["z0"] / 1024} for r in own_points(small(3303, 10))]
    yield case("diffusion_kto", "each row its own reference point", own)


def files():
    return {
        "kto": kto_cases(),
        "sft": sft_cases(),
        "csft": csft_cases(),
        "apo_zero_unpaired": apo_cases(),
        "bco": bco_cases(),
        "diffusion_kto": diffusion_kto_cases(),
    }
