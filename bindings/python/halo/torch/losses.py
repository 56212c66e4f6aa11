"""The functions that a training loop calls."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..losses import Counts, Loss
from ..refpoints import RefPoint
from . import ops, ranks, reference
from .columns import columns, joined
from .ranks import GradientReduce


class Output(NamedTuple):
    """What a loss says about R rows."""

    loss: Tensor
    """() differentiable. The mean over the ranks is the batch's loss, with gradient_reduce="sum" the sum is."""
    rewards: Tensor
    """(R) beta times log-ratio, or what the loss calls reward, in nats."""
    zones: Tensor
    """(R) uint8: halo.LEARNT, halo.ACTIVE or halo.GIVEN_UP."""
    reference_point: Tensor | None
    """[z0, before the clamp, 1 = clamped] in nats, where it was estimated here."""
    metric_sums: Tensor
    """Addable over micro-batches; see metrics."""
    spec: tuple[str, str]
    """The loss's name, and its parameters as JSON."""

    def metrics(self, process_group: Any = None) -> dict[str, float]:
        """Metrics over all ranks under TRL's names, such as ``rewards/chosen``. All ranks must call it."""
        sums = ranks.total(self.metric_sums, process_group)
        return ops.loss_of(*self.spec).summarize(sums.cpu().numpy())


def loss(
    spec: str | Loss,
    logps: Tensor,
    ref_logps: Tensor | None = None,
    labels: Tensor | None = None,
    *,
    completion_mask: Tensor | None = None,
    kl_logps: Tensor | None = None,
    ref_kl_logps: Tensor | None = None,
    kl_completion_mask: Tensor | None = None,
    old_logps: Tensor | None = None,
    rewards: Tensor | None = None,
    advantages: Tensor | None = None,
    groups: Tensor | None = None,
    group_count: int = 0,
    weights: Tensor | None = None,
    tokens: Tensor | None = None,
    z0: Tensor | float | None = None,
    point: RefPoint | None = None,
    counts: Counts | Tensor | None = None,
    process_group: Any = None,
    gradient_reduce: GradientReduce = "mean",
    **params: float | bool | str,
) -> Output:
    """Any loss of the registry, differentiable in logps.

    spec: a name with params, such as ``loss("dpo", .., beta=0.1)``, or a halo.Loss.
    logps, ref_logps, old_logps: policy, reference, policy at sampling time; (R) or, with completion_mask, (R, T); nats.
    labels: (R) bool or +1 / -1: desirable or chosen. Paired losses read each +1 row with the -1 row that follows it, or by groups.
    kl_logps, ref_kl_logps: (K) or (K, T): prompts with other prompts' completions, read by the reference point; no gradient.
    rewards, advantages, groups, weights, tokens: (R) as the loss needs them; group_count: groups are 1 to it (per_prompt).
    z0: the reference point in nats, () or (R), instead of an estimate; point: the estimator with its memory.
    counts: those of the whole step, for gradient accumulation (halo.Loss.count of each micro-batch, added); with them ranks do
    not exchange counts. A reference point is that of this call's rows: give z0 if the step has several calls.

    Raises halo.Error, its example naming the row; ValueError for shapes.
    """
    name, encoded = spec._arguments if isinstance(spec, Loss) else (spec, params)
    if isinstance(spec, Loss) and params:
        raise TypeError("params belong to a name; this halo.Loss has its own")
    key = (name, _encoded(tuple(encoded.items())))
    rows = columns(
        logps,
        completion_mask=completion_mask,
        ref_logps=ref_logps,
        old_logps=old_logps,
        label=labels,
        reward=rewards,
        advantage=advantages,
        group=groups,
        weight=weights,
        tokens=tokens,
    )
    still = [None if column is None else column.detach() for column in rows]
    found = None
    if z0 is None and reference.source(*key) != "none":
        kl = _mismatched(key, kl_logps, ref_kl_logps, kl_completion_mask, labels, groups)
        read = still if kl is None else joined(still, kl)
        z0, found = reference.of_step(
            key, read, keeper=point, groups=group_count, process_group=process_group
        )
        z0 = z0[: logps.shape[0]]
    if z0 is not None:
        z0 = torch.as_tensor(z0, dtype=torch.float64, device=logps.device).detach()
        rows[ops.COLUMNS.index("refpoint")] = z0.expand(logps.shape[0])
    if counts is None:
        counts = ranks.total(ops.count(*still, *key), process_group)
    else:
        counts = torch.as_tensor(counts, dtype=torch.float64)
    value, _, row_rewards, zones, sums = ops.evaluate(*rows, counts, *key)
    value = value * ranks.gradient_factor(gradient_reduce, process_group)
    return Output(value, row_rewards, zones, found, sums, key)


def kto_loss(
    policy_logps: Tensor,
    ref_logps: Tensor,
    labels: Tensor,
    kl_logps: Tensor | None = None,
    ref_kl_logps: Tensor | None = None,
    **settings: Any,
) -> Output:
    """Kahneman-Tversky optimisation (Ethayarajh et al. 2024, arXiv 2402.01306): ``loss("kto", ..)``.

    policy_logps, ref_logps: (R) or (R, T), nats; labels: (R) bool, True = desirable.
    kl_logps, ref_kl_logps: (K), the same of prompts with other prompts' completions, from which z0 is estimated; or z0=.
    settings: parameters such as beta=0.1, desirable_weight=1.0, and everything that `loss` takes.
    """
    return loss("kto", policy_logps, ref_logps, labels, kl_logps=kl_logps, ref_kl_logps=ref_kl_logps, **settings)


def pair_loss(
    spec: str | Loss,
    chosen_logps: Tensor,
    rejected_logps: Tensor,
    ref_chosen_logps: Tensor | None = None,
    ref_rejected_logps: Tensor | None = None,
    **settings: Any,
) -> Output:
    """A paired loss of tensors that stand beside each other: (P), or (P, T) with completion_mask (2, P, T), chosen first.

    The rows of the output are in turn: chosen, rejected, chosen, rejected, .. (2 P).
    """
    mask = settings.pop("completion_mask", None)
    tokens = settings.pop("tokens", None)
    return loss(
        spec,
        _in_turn(chosen_logps, rejected_logps),
        None if ref_chosen_logps is None or ref_rejected_logps is None else _in_turn(ref_chosen_logps, ref_rejected_logps),
        torch.tensor([1, -1], dtype=torch.int8).repeat(chosen_logps.shape[0]),
        completion_mask=None if mask is None else _in_turn(*mask),
        tokens=None if tokens is None else _in_turn(*tokens),
        **settings,
    )


def _in_turn(chosen: Tensor, rejected: Tensor) -> Tensor:
    return torch.stack([chosen, rejected], dim=1).flatten(0, 1)


@torch.compiler.assume_constant_result
def _encoded(params: tuple[tuple[str, Any], ...]) -> str:
    return json.dumps(dict(params))


def _mismatched(
    key: tuple[str, str],
    logps: Tensor | None,
    ref_logps: Tensor | None,
    mask: Tensor | None,
    labels: Tensor | None,
    groups: Tensor | None,
) -> list[Tensor | None] | None:
    if reference.source(*key) != "mismatched":
        return None
    if logps is None or ref_logps is None:
        raise ValueError(
            f"{key[0]}'s reference point reads mismatched completions: pass kl_logps and ref_kl_logps, or z0 (0.0 leaves it out)"
        )
    count = logps.shape[0]
    beside = {"label": labels, "group": groups}
    # Twins have their row's label and group; other rows have none that anything reads.
    twins = {
        name: value if value.shape[0] == count else torch.ones(count, dtype=value.dtype)
        for name, value in beside.items()
        if value is not None
    }
    return columns(logps.detach(), completion_mask=mask, ref_logps=ref_logps.detach(), **twins)
