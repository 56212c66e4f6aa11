//! The sections after the losses: what else can be set, and who does it otherwise.

use halo_loss::{
    Advantage, Estimator, Source, advantage, modifiers as modifying, reference_point, registry,
};

use super::guide::{link, values};
use super::text::{needs, params, table};

/// Headings, in their order.
pub(super) const TITLES: [&str; 6] = [
    "Modifiers",
    "Reference points",
    "Advantages",
    "Weighted sums",
    "Schedules and a moving reference",
    "Side by side",
];

pub(super) fn modifiers() -> String {
    let mut text = String::from(
        "\n## Modifiers\n\nA modifier is a parameter that a loss has besides its own, where it fits; all are off by default. A loss whose \
         formula already has such a term lists it among its own parameters instead.\n",
    );
    for modifier in modifying::registry() {
        let fitting: Vec<_> = registry()
            .iter()
            .filter(|spec| spec.modifiers.contains(modifier))
            .map(|spec| link(spec.name))
            .collect();
        text += &format!(
            "\n### Modifier {}\n\n{}.\n\n- **Needs when on**: {}\n- **Fits**: {}\n\n{}",
            modifier.name,
            sentence(modifier.meaning),
            needs(modifier.needs),
            fitting.join(", "),
            params(modifier.params)
        );
    }
    text
}

pub(super) fn reference_points() -> Result<String, String> {
    let mut rows = Vec::new();
    for name in reference_point::NAMES {
        let estimator = Estimator::new(name).map_err(|error| error.to_string())?;
        let source = match estimator.source() {
            Source::None => "none",
            Source::Mismatched => "completions under other prompts (a forward pass more)",
            Source::Matched => "the rows of the loss",
        };
        let shared = match estimator.per_row() {
            true => "each row its own",
            false => "one for all",
        };
        let clamp = match (estimator.source(), estimator.clamps()) {
            (Source::None, _) => "",
            (_, true) => "at 0",
            _ => "no",
        };
        rows.push(
            [
                &format!("`{name}`"),
                estimator.meaning(),
                source,
                shared,
                clamp,
            ]
            .map(ToString::to_string)
            .to_vec(),
        );
    }
    Ok(format!(
        "\n## Reference points\n\nWhat a gain or a loss is measured against: z0, in nats and without β, never differentiated. `--set \
         reference_point=NAME` for losses that have the parameter, which says the names it takes; where a loss has `reference_point_clamp`, it \
         overrides the clamp below. By default sums run over the whole optimiser step, micro-batches and ranks included; \
         `--reference-point-scope microbatch` estimates one for each micro-batch, as TRL and HALOs do.\n\n{}",
        table(&["name", "what", "reads", "shared", "clamp"], rows)
    ))
}

pub(super) fn advantages() -> Result<String, String> {
    let mut rows = Vec::new();
    for name in advantage::NAMES {
        let meaning = Advantage::new(name)
            .map_err(|error| error.to_string())?
            .meaning();
        let users: Vec<_> = registry()
            .iter()
            .filter(|spec| {
                let param = spec.param("advantage");
                param.is_ok_and(|param| param.default().to_string() == *name)
            })
            .map(|spec| link(spec.name))
            .collect();
        rows.push(vec![format!("`{name}`"), meaning.into(), users.join(", ")]);
    }
    Ok(format!(
        "\n## Advantages\n\nHow policy gradients turn the rewards R of the answers to one prompt into advantages: `--set advantage=NAME`. Alone \
         in its group an answer has advantage 0 where it is compared with the group.\n\n{}",
        table(&["name", "what", "default of"], rows)
    ))
}

pub(super) const SUMS: &str = "\n## Weighted sums\n\n\
Wherever a loss is named, a weighted sum can stand: `--loss 'dpo + 0.5*sft'`, `--loss '0.8*dpo + 0.2*bco_pair + sft'`. Parameters are then \
given behind the name of their loss:\n\n\
```sh\nhalo train --loss 'dpo + 0.5*sft' --set dpo.beta=0.05 --set sft.average=sequence …\n```\n\n\
- A weight is a positive number; without one it is 1. No loss stands twice.\n\
- All terms read the same rows, so their data must be of one shape; losses of any rows go with all.\n\
- Beside losses that judge, a loss of any rows imitates the chosen or desirable rows only, divided by their tokens.\n\
- At most one term may estimate a reference point.\n\
- Every parameter needs its loss's name before it. The zones that metrics count (learnt, active, given up) are those of the first term that \
judges the rows.\n";

pub(super) const SCHEDULES: &str = "\n## Schedules and a moving reference\n\n\
`halo train --help` documents both.\n\n\
- `--ramp KEY=TO[:SHAPE[:START[:END]]]` lets a numeric parameter of the loss change over the run: from its value to `TO`, by equal differences \
(`linear`, the default), half a cosine (`cosine`) or equal ratios (`geometric`), between two shares of the run's steps. `--ramp \
beta=0.5:cosine:0.1:0.9` moves beta from a tenth of the run to nine tenths.\n\
- `--reference-sync MIX:EVERY[:before]` moves the reference towards the policy every so many optimiser steps: π_ref := MIX·π + (1 − MIX)·π_ref \
(TR-DPO, [2404.09656](https://arxiv.org/abs/2404.09656)); a mix of 1 replaces it. With `before` it moves before the step's update, which is \
humanline's lag of one step ([2509.24207](https://arxiv.org/abs/2509.24207)).\n";

pub(super) fn side_by_side() -> String {
    let rows = registry()
        .iter()
        .filter(|spec| !spec.presets.is_empty() || !spec.implementations.is_empty())
        .map(|spec| {
            let presets: Vec<_> = spec
                .presets
                .iter()
                .map(|preset| format!("`{}`: {}", preset.name, values(preset.values)))
                .collect();
            vec![
                link(spec.name),
                presets.join("; "),
                spec.implementations.into(),
            ]
        });
    format!(
        "\n## Side by side\n\nHow the same loss differs elsewhere, and which differences `--set compat=NAME` takes over.\n\n{}",
        table(&["loss", "presets", "elsewhere"], rows)
    )
}

fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters
        .next()
        .map(|letter| letter.to_uppercase().to_string());
    first.unwrap_or_default() + letters.as_str()
}
