"""Packs for packed_torch.py: the sequences of one batch as trees, a prompt once for all that follows it, no padding between.

A row is one token's place. Rows with gradient (prompts and judged completions) stand first, mismatched completions after them. A
completion's last token predicts nothing and nobody attends to it: it has no row.
"""

import dataclasses

import torch

MULTIPLE = 512  # both parts are filled up to a multiple, so that few shapes are compiled


@dataclasses.dataclass
class Pack:
    tokens: torch.Tensor  # (rows,)
    positions: torch.Tensor  # (rows,)
    segment: torch.Tensor  # (rows,): which run of tokens a row belongs to
    parent: torch.Tensor  # (rows,): the run before it, which it sees whole; -1 for prompts
    grad_rows: int
    score_rows: torch.Tensor  # (scores,): the rows whose hidden states predict …
    targets: torch.Tensor  # (scores,): … these tokens, …
    owner: torch.Tensor  # (scores,): … of these sequences; those with gradient first
    grad_scores: int
    judged: int  # sequences with gradient; the mismatched ones follow


class Part:
    """Rows under construction."""

    def __init__(self):
        self.tokens, self.positions, self.segment, self.parent = [], [], [], []

    def add(self, tokens, position, segment, parent):
        start = len(self.tokens)
        self.tokens += tokens
        self.positions += range(position, position + len(tokens))
        self.segment += [segment] * len(tokens)
        self.parent += [parent] * len(tokens)
        return start

    def fill(self, segment, multiple):
        missing = -len(self.tokens) % multiple
        self.add([0] * missing, 0, segment, -1)


def build(judged, mismatched, device, multiple=MULTIPLE):
    """`judged`, `mismatched`: lists of (prompt_ids, completion_ids); the latter's prompts are among the former's."""
    with_gradient, without = Part(), Part()
    prompts = {}
    segments = 0
    for prompt, _ in judged:
        if tuple(prompt) not in prompts:
            prompts[tuple(prompt)] = (segments, with_gradient.add(prompt, 0, segments, -1))
            segments += 1
    places = []
    for part, pairs in [(with_gradient, judged), (without, mismatched)]:
        for prompt, completion in pairs:
            parent, prompt_start = prompts[tuple(prompt)]
            start = part.add(completion[:-1], len(prompt), segments, parent)
            places.append((part, prompt_start + len(prompt) - 1, start, completion))
            segments += 1
    with_gradient.fill(segments, multiple)
    if mismatched:
        without.fill(segments + 1, multiple)
    grad_rows = len(with_gradient.tokens)
    score_rows, targets, owner, grad_scores = [], [], [], 0
    for sequence, (part, last_of_prompt, start, completion) in enumerate(places):
        start += 0 if part is with_gradient else grad_rows
        # The prompt's last row predicts the first token of every branch.
        score_rows += [last_of_prompt, *range(start, start + len(completion) - 1)]
        targets += completion
        owner += [sequence] * len(completion)
        grad_scores += len(completion) if part is with_gradient else 0

    def tensor(values):
        return torch.tensor(values, dtype=torch.long, device=device)

    return Pack(
        tokens=tensor(with_gradient.tokens + without.tokens),
        positions=tensor(with_gradient.positions + without.positions),
        segment=tensor(with_gradient.segment + without.segment),
        parent=tensor(with_gradient.parent + without.parent),
        grad_rows=grad_rows,
        score_rows=tensor(score_rows),
        targets=tensor(targets),
        owner=tensor(owner),
        grad_scores=grad_scores,
        judged=len(judged),
    )


def pack_of(rows, loss, device, multiple=MULTIPLE):
    """A batch of data lines as a pack; KTO's mismatched completion is the row before's, as TRL has it."""
    if loss == "dpo":
        pairs = [(row["prompt_ids"], row[key]) for row in rows for key in ["chosen_ids", "rejected_ids"]]
        return build(pairs, [], device, multiple)
    judged = [(row["prompt_ids"], row["completion_ids"]) for row in rows]
    return build(judged, [(x, judged[i - 1][1]) for i, (x, _) in enumerate(judged)], device, multiple)
