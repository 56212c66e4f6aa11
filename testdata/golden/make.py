#!/usr/bin/env python3
"""Golden values of the losses: written from the papers' formulas, never from this project's code.

Run it in this folder: `python3 make.py` writes `*.json`; `python3 make.py --check` only compares.
Nothing but the standard library. Formulas are evaluated with 120 digits (`decimal`), on the exact values of the
float64 inputs, and derivatives are central differences with a step of 1e-30: exact to about 1e-58, so no derivative
is written down here. Results are rounded to float64 once, at the end.

A case is: `params` (only those set), `rows`, where a loss reads them `tokens` (columns per token, flat, row after row),
`reference_point` (z0, nats), `normalizer`, and what must come out: `loss`, `values` per unit (not divided), `dlogps`
per row or `token_dlogps` per token (divided), `rewards` per row, for some losses `zones`. Where a result is the small
difference of large terms, `scale` is the largest of them: what float64 can be held to. `published` holds numbers that
were known before this project (the handbook's table); this script refuses to write if its formulas miss them.

The families: `paired` and `paired_cases`, `reference_free`, `unpaired`, `policy_gradient`, `reward_models`; `modifiers`
on top of them; `reference_points`, `advantages`, `saturation` and `theory` belong to no single loss.
"""

import json
import sys
from pathlib import Path

sys.dont_write_bytecode = True

import advantages
import modifiers
import paired_cases
import policy_gradient
import reference_free
import reference_points
import reward_models
import saturation
import theory
import unpaired


def contents():
    for family in (paired_cases, reference_free, unpaired, policy_gradient, reward_models):
        for name, cases in family.files().items():
            yield name, {"loss": name, "cases": list(cases)}
    yield "modifiers", modifiers.modifiers()
    yield "reference_point", reference_points.reference_points()
    yield "advantage", advantages.advantages()
    yield "weighting", advantages.weighting()
    yield "saturation", saturation.saturation()
    yield "theory", theory.theory()


def main():
    here = Path(__file__).parent
    for name, content in contents():
        text = json.dumps(content, indent=1) + "\n"
        path = here / f"{name}.json"
        if "--check" in sys.argv:
            if path.read_text() != text:
                sys.exit(f"{path.name} is not what make.py makes")
        else:
            path.write_text(text)


if __name__ == "__main__":
    main()
