"""Modifiers of losses, what a row may bring (weight, beta_scale, z0), and weighted sums of losses.

A case names its loss under `of`, because `loss` is the number. Row transformations (humanline, ld_alpha,
length_average) come first, so the reported reward is that of the transformed log-ratio; f_divergence alone leaves it
at beta r. A mixture's sft reads the chosen rows, its values are scaled so that their sum over `units` is the loss.
"""

import sys

from common import POINTS, D, desirable, far_pairs, random_rows, token_rows, undesirable, with_weights
from engine import Evaluation, LOSSES, case, evaluate, exact, finish, humanline_ends


def of(name, title, *arguments, **more):
    made = case(name, title, *arguments, **more)
    return {"name": f"{name}: {title}", "of": name} | {k: v for k, v in made.items() if k != "name"}


PUBLISHED_F = {
    "forward_kl": {
        "A": ("0.572316289449", "-0.00589768111334", "0.118458091763"),
        "B": ("0.935712928675", "-0.272349520136", "0.00640504679857"),
    },
    "js": {
        "A": ("0.635588700558", "-0.00560702405183", "0.0343872697426"),
        "B": ("0.776408927408", "-0.0441445136197", "0.00514834534888"),
    },
    "alpha": {
        "A": ("0.573243445675", "-0.0160507948932", "0.0719346720432"),
        "B": ("0.888359211989", "-0.124621417777", "0.0191113133913"),
    },
}


def f_divergence():
    for kind, table in PUBLISHED_F.items():
        for point, (v, *slopes) in table.items():
            known = {"value": v, "dlogps": slopes}
            yield of("dpo", f"{kind}, point {point}", list(POINTS[point]), {"f_divergence": kind}, published=known)
        pairs = random_rows(6000, 16, 2.0)
        yield of("dpo", f"{kind}, 8 pairs of a step of 10", pairs, {"f_divergence": kind}, units=10)
        yield of("dpo", f"{kind}, margins of 10000", far_pairs(1e4), {"f_divergence": kind})
        for i, name in enumerate(("cdpo", "robust_dpo", "ipo", "hinge", "exo", "discopop", "sigmoid_norm")):
            yield of(name, kind, random_rows(6010 + i, 8, 2.0, shortest=8), {"f_divergence": kind})
    yield of("dpo", "reverse_kl is the default", random_rows(6001, 8), {"f_divergence": "reverse_kl"})
    for order in (-1.0, 0.0, 0.75, 1.0, 2.0, 4.0):
        params = {"f_divergence": "alpha", "f_alpha": order}
        yield of("dpo", f"alpha of order {order}", random_rows(6002, 8, 0.75), params)
    for order in (-4.0, 4.0):
        far = {"f_divergence": "alpha", "f_alpha": order}
        yield of("dpo", f"alpha of order {order}, margins of 10000", far_pairs(1e4), far)


def on_rows():
    for i, name in enumerate(("dpo", "cdpo", "hinge", "nca", "sppo", "apo_zero", "apo_down", "exo")):
        params = {"length_average": True, "beta": 2.0}
        yield of(name, "log-ratios per token", random_rows(6100 + i, 8, shortest=4), params)
    for i, name in enumerate(("apo_zero_unpaired", "bco", "kto")):
        params, z0 = {"length_average": True, "beta": 2.0}, 0.0 if i == 0 else 0.125
        yield of(name, "log-ratios per token", random_rows(6110 + i, 8, shortest=4), params, z0)
    smooth = {"label_smoothing": 0.125}
    for i, name in enumerate(("dpo", "hinge", "ipo", "nca", "apo_zero", "simpo", "slic")):
        yield of(name, "label_smoothing 0.125", random_rows(6200 + i, 8, shortest=8), smooth)
    yield of("kto", "label_smoothing 0.125", random_rows(6210, 8), smooth, 0.5)
    heavier = smooth | {"undesirable_weight": 2.5}
    yield of("kto", "label_smoothing and class weights", random_rows(6211, 8), heavier, 0.5)
    yield of("bco", "label_smoothing 0.5", random_rows(6212, 8), {"label_smoothing": 0.5}, 0.5)
    for i, name in enumerate(("dpo", "ipo", "hinge", "apo_zero", "simpo")):
        yield of(name, "nll_weight 0.25", random_rows(6300 + i, 8, shortest=8), {"nll_weight": 0.25})
    for i, name in enumerate(("kto", "bco", "apo_zero_unpaired")):
        yield of(name, "nll_weight 0.25", random_rows(6310 + i, 8), {"nll_weight": 0.25}, 0.0 if i == 2 else 0.5)
    for i, name in enumerate(("dpo", "hinge", "ipo", "cdpo")):
        yield of(name, "wpo plain", random_rows(6400 + i, 8, shortest=20), {"wpo": "plain"})
    yield of("dpo", "wpo plain and weights", with_weights(random_rows(6410, 8, shortest=20), 7, 2), {"wpo": "plain"})
    yield of("dpo", "each pair its own weight and beta_scale", with_weights(random_rows(6500, 12), 8, 2))
    yield of("kto", "each row its own weight and beta_scale", with_weights(random_rows(6501, 12), 9, 1), {}, 0.75)
    yield of("sft", "each row its own weight", with_weights(random_rows(6502, 8), 10, 1, ("weight",)))
    own = [r | {"z0": (i % 5) / 4 - 0.5} for i, r in enumerate(random_rows(6503, 10))]
    yield of("kto", "each row its own reference point", own, {"undesirable_weight": 1.5}, 3.0)


def off_the_ends(seed, old, p, advantages):
    """Rows, none with a log-ratio exactly at an end of humanline, where there is no derivative."""
    while True:
        rows, columns = token_rows(seed, 8, 1.25, advantages=advantages)
        ratios = [D(lp) - D(o) for lp, o in zip(columns["logps"], columns[old], strict=True)]
        if not any(r in humanline_ends(p) for r in ratios):
            return rows, columns
        seed += 100


def on_tokens():
    shares = [("dpo", 0.5), ("dpo", 0.0), ("hinge", 0.25), ("cdpo", 0.5), ("nca", 0.75), ("dpo", 1.0)]
    for i, (name, share) in enumerate(shares):
        rows, columns = token_rows(6600 + i, 8, advantages=False)
        yield of(name, f"ld_alpha {share}", rows, {"ld_alpha": share}, columns=columns)
    for i, name in enumerate(("dpo", "ipo", "hinge")):
        rows, columns = token_rows(6700 + i, 8, collisions=True, advantages=False)
        yield of(name, "wpo exact", rows, {"wpo": "exact"}, columns=columns)
    # the handbook's four log-ratios, which sum to 0.5
    known = {"logps": [-4.0, -1.0, -0.5, -1.5], "ref_logps": [-2.0, -1.5, -3.5, -1.0]}
    one = [desirable(-7.0, -8.0, 4)]
    made = of("kto", "humanline, log-ratios -2, 0.5, 3, -0.5", one, {"humanline": True, "beta": 1.0}, columns=known)
    if made["rewards"] != [0.5]:
        sys.exit("humanline: the handbook's log-ratios sum to 0.5")
    yield made
    wide = {"humanline_low": -0.4, "humanline_high": 0.3}
    for i, (name, ends, z0) in enumerate((
        ("kto", {}, 0.25), ("kto", wide | {"undesirable_weight": 1.5}, -0.25), ("dpo", {}, 0.0), ("dpo", wide, 0.0),
        ("apo_zero", {}, 0.0), ("hinge", {}, 0.0), ("grpo", {}, 0.0), ("grpo", wide | {"kl_beta": 0.04}, 0.0),
        ("dapo", {}, 0.0), ("dr_grpo", wide, 0.0),
    )):
        policy_gradient = LOSSES[name].per_token
        params = {"humanline": True} | ends
        rows, columns = off_the_ends(6820 + i, "old_logps" if policy_gradient else "ref_logps", params, policy_gradient)
        title = ", ".join(f"{k} {v}" for k, v in params.items())
        yield of(name, title, rows, params, z0, columns=columns)


# ---------------------------------------------------------------- weighted sums


def mixture(title, name, second_weight, rows, params, units, tokens):
    """`first + weight*sft`: the pairs' loss, and sft on the chosen rows with the normaliser its `average` asks for."""
    first, second = name.split(" + ")[0], "sft"
    own = lambda part: {k.split(".")[1]: v for k, v in params.items() if k.startswith(part + ".")}
    pairs = exact(rows, 2)
    ours = evaluate(first, own(first), pairs)
    chosen = evaluate(second, own(second), pairs[::2])
    divisor = D(tokens) if LOSSES[second].by_tokens(own(second)) else D(units)
    share = D(second_weight) * units / divisor
    scaled = lambda terms: [share * t for t in terms]
    values = [v + scaled(s) for v, s in zip(ours.values, chosen.values, strict=True)]
    slopes = list(ours.slopes)
    for i, s in enumerate(chosen.slopes):
        slopes[2 * i] = slopes[2 * i] + scaled(s)
    both = Evaluation(values, slopes, ours.rewards, False)
    made = finish(f"{name}: {title}", params, rows, 0.0, units, tokens, None, both, D(units))
    return {"name": made["name"], "of": name} | {k: v for k, v in made.items() if k != "name"}


def mixtures():
    rows = random_rows(6900, 16, shortest=8)
    length = sum(r["tokens"] for r in rows[::2])
    for average in ("sequence", "sum", "token"):
        params = {"dpo.beta": 0.25, "sft.average": average}
        yield mixture(f"average {average}", "dpo + 0.5*sft", 0.5, rows, params, 8, length)
    yield mixture("8 pairs of a step of 10", "dpo + 0.5*sft", 0.5, rows, {"sft.average": "sequence"}, 10, length + 99)
    params = {"simpo.gamma_beta_ratio": 0.25, "sft.average": "sequence"}
    yield mixture("margin", "simpo + 0.125*sft", 0.125, rows, params, 8, length)


def modifiers():
    cases = [*f_divergence(), *on_rows(), *on_tokens(), *mixtures()]
    return {"about": "modifiers, weights of rows, weighted sums; `of` names the loss", "cases": cases}
