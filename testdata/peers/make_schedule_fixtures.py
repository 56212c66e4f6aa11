"""Learning rates of `transformers.get_scheduler`, step by step. Writes testdata/fixtures/schedules.json.

halo's `constant` with warm-up is the peer's `constant_with_warmup`; the peer's `constant` ignores warm-up.
"""

import json

import torch
from transformers import get_scheduler

from common import FIXTURES

LEARNING_RATE = 0.01
PEER_NAMES = {"constant": "constant_with_warmup", "linear": "linear", "cosine": "cosine"}


def rates(peer_name, warmup_steps, total_steps):
    """The rate used for the update of step 0, 1, … and for two steps past the end."""
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=LEARNING_RATE)
    schedule = get_scheduler(peer_name, optimiser, num_warmup_steps=warmup_steps, num_training_steps=total_steps)
    values = []
    for _ in range(total_steps + 2):
        values.append(schedule.get_last_lr()[0])
        optimiser.step()
        schedule.step()
    return values


if __name__ == "__main__":
    cases = [
        dict(schedule=name, warmup_steps=warmup, total_steps=total, learning_rate=LEARNING_RATE,
             values=rates(peer, warmup, total))
        for name, peer in PEER_NAMES.items()
        for warmup, total in [(0, 10), (4, 20), (1, 7), (10, 10)]
    ]
    text = ",\n".join(json.dumps(case) for case in cases)
    (FIXTURES / "schedules.json").write_text(f"[\n{text}\n]\n")
