"""Cases of the paired losses: the handbook's points, random pairs, other parameters, ends, equal rows, weights."""

import paired  # registers the formulas
from common import POINTS, desirable, far_pairs, random_rows, undesirable, with_weights
from engine import case
from saturation import zoned


def published_pairs(name, table, params=None, title="", z0=0.0):
    for point, (v, g_w, g_l) in table.items():
        known = {"value": v, "dlogps": [g_w, g_l]}
        yield case(name, f"point {point}{title}", list(POINTS[point]), params, z0, published=known)


def pair_cases(name, seed, variants=(), far=1e4, shortest=1, keys=("weight", "beta_scale"), z0=0.0):
    """What every paired loss is tried on, beyond the published points."""
    yield case(name, "16 pairs of a step of 20", random_rows(seed, 32, shortest=shortest), {}, z0, units=20)
    for i, params in enumerate(variants):
        title = ", ".join(f"{k} {v}" for k, v in params.items())
        yield case(name, title, random_rows(seed + 1 + i, 12, shortest=shortest), params, z0)
    equal = [desirable(-8.0, -9.0, 4), undesirable(-8.0, -9.0, 4), desirable(-5.0, -5.0, 3), undesirable(-5.0, -5.0, 3)]
    yield case(name, "equal rows", equal, {}, z0)
    yield case(name, f"margins of {far:.0f}", far_pairs(far), {}, z0)
    if keys:
        weighted = with_weights(random_rows(seed + 9, 12, shortest=shortest), seed, 2, keys)
        yield case(name, "each pair its own " + " and ".join(keys), weighted, {}, z0)


PUBLISHED_DPO = {
    "A": ("0.554355244469", "-0.0425557483188", "0.0425557483188"),
    "B": ("0.89812326414", "-0.0592666599954", "0.0592666599954"),
    "C": ("13.0000022603", "-0.0999997739676", "0.0999997739676"),
}


def dpo_cases():
    for point, (v, g_w, g_l) in PUBLISHED_DPO.items():
        known = {"value": v, "dlogps": [g_w, g_l]}
        yield zoned("dpo", f"point {point}", list(POINTS[point]), published=known)
    yield zoned("dpo", "16 pairs of a step of 20", random_rows(11, 32), units=20)
    yield zoned("dpo", "another beta", random_rows(12, 16), {"beta": 0.5})
    yield zoned("dpo", "equal log-ratios: ln 2", [desirable(-8.0, -9.0, 4), undesirable(-5.0, -6.0, 3)])
    for wide in (1e4, -1e4):
        pair = [desirable(-1.0, -1.0 - wide, 4), undesirable(-2.0, -2.0, 4)]
        yield zoned("dpo", f"a margin of {wide:.0f}", pair)


# loss: (params that the handbook's table was made with, its rows), variants to try
PUBLISHED = {
    "cdpo": [({}, {
        "A": ("0.614355244469", "-0.0225557483188", "0.0225557483188"),
        "B": ("0.82312326414", "-0.0392666599954", "0.0392666599954"),
    })],
    "robust_dpo": [({}, {
        "A": ("0.516855244469", "-0.0550557483188", "0.0550557483188"),
        "B": ("0.94499826414", "-0.0717666599954", "0.0717666599954"),
        "C": ("14.6250022603", "-0.112499773968", "0.112499773968"),
    })],
    "hinge": [({}, {"A": ("0.7", "-0.1", "0.1"), "B": ("1.375", "-0.1", "0.1")})],
    "ipo": [
        ({}, {
            "A": ("21.4677777778", "-0.926666666667", "1.54444444444"),
            "B": ("28.890625", "-0.895833333333", "1.19444444444"),
        }),
        ({"length_average": False}, {"A": ("4", "-4", "4"), "B": ("76.5625", "-17.5", "17.5")}),
    ],
    "exo": [({}, {
        "A": ("2.25819919151", "-0.161507611894", "0.161507611894"),
        "B": ("3.41853008255", "-0.175790954733", "0.175790954733"),
        "C": ("6.90770802293", "-4.4995619814e-06", "4.4995619814e-06"),
    })],
    "nca": [({}, {
        "A": ("1.31940663411", "-0.0175249004031", "0.0237510406261"),
        "B": ("1.48741657271", "-0.0306144768016", "0.0278006945272"),
        "C": ("12.65664006", "-0.0999990783738", "0.0365529289315"),
    })],
    "sppo": [({}, {"A": ("25", "-6", "8"), "B": ("94.8125", "-13", "14.5")})],
    "apo_zero": [({}, {
        "A": ("0.925186815209", "-0.0247516572712", "0.0249376040193"),
        "B": ("1.09344373589", "-0.0248599006678", "0.0246862444066"),
        "C": ("1.73105243446", "-6.14413685133e-07", "0.0196611933241"),
    })],
    "apo_down": [({}, {
        "A": ("0.975391480501", "0.000305826102111", "0.0244458311691"),
        "B": ("1.05523675461", "0.000718610542459", "0.0241412901253"),
        "C": ("1.00000388385", "3.8838176625e-07", "2.26031918884e-07"),
    })],
    "discopop": [({"beta": 0.1}, {
        "A": ("0.740357168009", "-0.0730840446415", "0.0730840446415"),
        "B": ("0.898431088957", "-0.0586990181526", "0.0586990181526"),
        "C": ("13.0000022603", "-0.0999997739676", "0.0999997739676"),
    })],
    "sigmoid_norm": [({"beta": 0.1}, {
        "A": ("0.674981893369", "-0.00490834360201", "0.00818057267002"),
        "B": ("0.712072951511", "-0.00424478251268", "0.00565971001691"),
    })],
    "dpop": [({"penalty_weight": 5.0}, {
        "A": ("0.554355244469", "-0.0425557483188", "0.0425557483188"),
        "B": ("1.40615013625", "-0.452948992121", "0.0754914986868"),
    })],
    "rpo": [({}, {
        "A": ("2.55435524447", "-0.142555748319", "0.0425557483188"),
        "B": ("3.52312326414", "-0.142599993329", "0.0592666599954"),
    })],
}
VARIANTS = {
    "cdpo": ({"label_smoothing": 0.0}, {"label_smoothing": 0.5, "beta": 0.25}),
    "robust_dpo": ({"label_smoothing": 0.0}, {"label_smoothing": 0.375, "beta": 0.25}),
    "hinge": ({"beta": 0.05}, {"beta": 0.5}),
    "ipo": ({"tau": 0.5}, {"tau": 0.03, "length_average": False}),
    "exo": ({"label_smoothing": 0.25, "beta": 0.5}, {"label_smoothing": 1e-12}),
    "nca": ({"beta": 0.01}, {"beta": 0.75}),
    "sppo": ({"beta": 0.001}, {"win_probability": 0.25, "beta": 0.3}),
    "apo_zero": ({"beta": 0.01}, {"beta": 0.5}),
    "apo_down": ({"beta": 0.01}, {"beta": 0.5}),
    "discopop": ({"tau": 0.5}, {"tau": 2.0, "beta": 0.2}),
    "sigmoid_norm": ({"beta": 0.5}, {"beta": 10.0}),
    "dpop": ({"penalty_weight": 0.0}, {"penalty_weight": 5.0, "penalty": "outside"}, {"penalty_weight": 0.25}),
    "rpo": ({"nll_weight": 0.005}, {"nll_weight": 0.0, "beta": 0.5}),
}
FAR = {"discopop": 2e4}


def cases_of(name, seed):
    for params, table in PUBLISHED[name]:
        title = "".join(f", {k} {v}" for k, v in params.items())
        yield from published_pairs(name, table, params, title)
    keys = ("weight",) if name == "ipo" else ("weight", "beta_scale")
    yield from pair_cases(name, seed, VARIANTS[name], FAR.get(name, 1e4), keys=keys)


def bco_pair_cases(seed):
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
        yield from published_pairs("bco_pair", table, None, f", z0 {z0}", z0)
    yield from pair_cases("bco_pair", seed, ({"beta": 0.5}, {"beta": 0.01}), z0=-1.25)
    own = [r | {"z0": (i % 5) / 4 - 0.5} for i, r in enumerate(random_rows(seed + 8, 12))]
    yield case("bco_pair", "each row its own reference point", own, {}, 3.0)


def aot_cases(name, seed):
    """Values in the order of the pairs (of the chosen rows)."""
    mean = {"aot": "0.7130293417", "aot_unpaired": "0.7120924758"}[name]
    yield case(name, "points A and B", [*POINTS["A"], *POINTS["B"]], published={"value": mean})
    yield from pair_cases(name, seed, ({"beta": 0.01}, {"beta": 0.5, "label_smoothing": 0.25}), keys=())
    # where far_pairs' sorted columns cancel
    for wide in (1e4, -1e4):
        pairs = [desirable(-1.0, -1.0 - wide, 4), undesirable(-2.0, -2.0, 4)] * 2
        yield case(name, f"two margins of {wide:.0f}", pairs)
    ties = [r for k in (3, 1, 2, 1, 3) for r in (desirable(-4.0 - k, -6.0, 4), undesirable(-6.0 - k, -5.0 - k % 2, 5))]
    yield case(name, "ties go by index", ties)


def files():
    out = {"dpo": dpo_cases()}
    out |= {name: cases_of(name, 1000 + 20 * i) for i, name in enumerate(PUBLISHED)}
    return out | {
        "bco_pair": bco_pair_cases(1400), "aot": aot_cases("aot", 1420), "aot_unpaired": aot_cases("aot_unpaired", 1440)
    }
