"""Paired losses without a reference (handbook 2.4); `a` is the mean log-probability of the completion."""

from common import D, capped_exp, desirable, log1mexp, ls, undesirable
from engine import beta_of, case, loss
from paired import smoothed
from paired_cases import pair_cases, published_pairs


@loss("simpo", 2, beta=2.5, reward=lambda p, r: beta_of(p, r, 2.5) * r["a"])
def simpo(p, unit):
    w, l = unit
    return [-ls(beta_of(p, w, 2.5) * (w["a"] - l["a"] - D(p.get("gamma_beta_ratio", 0.55))))]


@loss("cpo", 2, reward=lambda p, r: beta_of(p, r) * r["logp"], owns=("nll_weight", "label_smoothing"))
def cpo(p, unit):
    w, l = unit
    terms = smoothed(p, beta_of(p, w) * (w["logp"] - l["logp"]), 0.0)
    return terms + [D(p.get("nll_weight", 1.0)) * -w["a"]]


def shape(p, a):
    alpha = D(p.get("alpha", 0.25))
    return a if alpha == 0 else (1 - capped_exp(-alpha * a)) / alpha


@loss("alphapo", 2, beta=2.5, reward=lambda p, r: beta_of(p, r, 2.5) * shape(p, r["a"]))
def alphapo(p, unit):
    w, l = unit
    return [-ls(beta_of(p, w, 2.5) * (shape(p, w["a"]) - shape(p, l["a"])) - D(p.get("gamma", 0.1)))]


@loss("orpo", 2, reward=lambda p, r: D(p.get("odds_weight", 0.1)) * r["a"])
def orpo(p, unit):
    a_w, a_l = (min(r["a"], D("-1e-12")) for r in unit)
    odds = (a_w - a_l) - (log1mexp(a_w) - log1mexp(a_l))
    return [-unit[0]["a"], D(p.get("odds_weight", 0.1)) * -ls(odds)]


@loss("slic", 2, reward=lambda p, r: r["logp"], owns=("nll_weight",))
def slic(p, unit):
    w, l = unit
    rank = max(D(0), D(p.get("margin", 1.0)) - w["logp"] + l["logp"])
    return [rank, D(p.get("nll_weight", 0.1)) * -w["logp"]]


# ---------------------------------------------------------------- cases

# loss: params of the handbook's table, its rows; variants; which weights a row may bring
TABLES = {
    "simpo": (
        {},
        {
            "A": ("0.281150136248", "-0.0612712532831", "0.102118755472"),
            "B": ("1.25799727324", "-0.149120275574", "0.198827034099"),
            "C": ("32.625", "-0.25", "0.25"),
        },
        ({"beta": 10.0, "gamma_beta_ratio": 0.3}, {"gamma_beta_ratio": 0.0}),
        ("weight", "beta_scale"),
    ),
    "cpo": (
        {"nll_weight": 0.0},
        {
            "A": ("0.798138869382", "-0.0549833997312", "0.0549833997312"),
            "B": ("1.05370067828", "-0.0651354864666", "0.0651354864666"),
        },
        ({"label_smoothing": 0.25, "beta": 0.5}, {"nll_weight": 0.25}),
        ("weight", "beta_scale"),
    ),
    "alphapo": (
        {},
        {
            "A": ("0.0101744156404", "-0.00417243184921", "0.0089291809063"),
            "B": ("0.374208261106", "-0.125357581768", "0.174860981868"),
        },
        (
            {"alpha": 0.0, "gamma": 1.375},
            {"alpha": 2.0**-20},
            {"alpha": -0.5, "gamma": 0.0},
            {"alpha": 1.0, "beta": 0.5},
        ),
        ("weight",),
    ),
    "orpo": (
        {},
        {
            "A": ("2.02887507843", "-0.102900559036", "0.00439903340642"),
            "B": ("2.68511270172", "-0.0873924275995", "0.00534319237594"),
        },
        ({"odds_weight": 0.25}, {"odds_weight": 4.0}),
        ("weight",),
    ),
    "slic": (
        {},
        {"A": ("5", "-1.1", "1"), "B": ("10.4", "-1.1", "1")},
        ({"margin": 0.0, "nll_weight": 0.0}, {"margin": 10.5, "nll_weight": 0.5}),
        ("weight",),
    ),
}


def cases_of(name, seed):
    params, table, variants, keys = TABLES[name]
    title = "".join(f", {k} {v}" for k, v in params.items())
    yield from published_pairs(name, table, params, title)
    yield from pair_cases(name, seed, variants, shortest=8, keys=keys)
    near = [desirable(-(2.0**-12), 0.0, 4), undesirable(-0.5, 0.0, 8)]
    near += [desirable(-3.0, 0.0, 4), undesirable(-(2.0**-15), 0.0, 2)]
    yield case(name, "nearly certain completions", near)


def files():
    return {name: cases_of(name, 2000 + 20 * i) for i, name in enumerate(TABLES)}
