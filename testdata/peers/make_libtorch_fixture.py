"""Twenty steps of TRL's KTO loss on an embedding and a linear layer, in float64: what bindings/cpp/libtorch.cpp must reach.

TRL's own `KTOTrainer._compute_loss` computes loss, z0 and rewards; only model and loop are ours, so that C++ can do the same without
transformers. Writes testdata/fixtures/libtorch/kto.txt: one tensor a line, `name rank sizes… values…`.
"""

from collections import defaultdict
from contextlib import nullcontext
from types import SimpleNamespace

import torch
from trl import KTOTrainer
from trl.trainer import kto_trainer

from common import FIXTURES

VOCAB, WIDTH, ROWS, PROMPT, COMPLETION, STEPS = 13, 6, 20, 3, 5, 20
BATCH = 4
BETA, DESIRABLE, UNDESIRABLE = 0.3, 1.2, 0.9
LEARNING_RATE, WEIGHT_DECAY = 0.02, 0.01


class Tiny(torch.nn.Module):
    """Next-token logits from the last token alone; answers as TRL asks its models since the head is fused."""

    def __init__(self, generator):
        super().__init__()

        def random(*shape):
            return torch.nn.Parameter(0.5 * torch.randn(*shape, generator=generator, dtype=torch.float64))

        self.embedding, self.weight, self.bias = random(VOCAB, WIDTH), random(VOCAB, WIDTH), random(VOCAB)

    def forward(self, input_ids, labels, **_):
        logps = torch.log_softmax(self.embedding[input_ids[:, :-1]] @ self.weight.T + self.bias, dim=-1)
        targets = labels[:, 1:]
        chosen = logps.gather(-1, targets.clamp(min=0).unsqueeze(-1)).squeeze(-1)
        nothing = torch.zeros_like(chosen)
        return SimpleNamespace(log_probs=chosen.where(targets >= 0, nothing), entropy=nothing, mean_logits=nothing)


def trainer(policy, reference):
    """Everything that `_compute_loss` looks at."""
    one_rank = SimpleNamespace(device=torch.device("cpu"), gather_for_metrics=lambda value: value)
    settings = dict(
        accelerator=one_rank,
        aux_loss_enabled=False,
        args=SimpleNamespace(gradient_checkpointing_kwargs=None),
        beta=BETA,
        calculate_KL=True,
        desirable_weight=DESIRABLE,
        loss_type="kto",
        model=policy,
        precompute_ref_logps=False,
        ref_model=reference,
        undesirable_weight=UNDESIRABLE,
        _metrics=dict(train=defaultdict(list)),
        _total_train_tokens=0,
        _tp_size=1,
    )
    stand_in = SimpleNamespace(**settings)
    stand_in._compute_kl_logps = lambda model, batch: KTOTrainer._compute_kl_logps(stand_in, model, batch)
    return stand_in


def inputs(tokens, labels):
    """A micro-batch; the mismatched completion is the row's before, as TRL pairs them."""
    mismatched = torch.cat([tokens[:, :PROMPT], tokens.roll(1, dims=0)[:, PROMPT:]], dim=1)
    ones = torch.ones_like(tokens)
    completion = (torch.arange(tokens.size(1)) >= PROMPT).long().expand_as(tokens)
    return dict(
        input_ids=tokens,
        attention_mask=ones,
        completion_mask=completion,
        KL_input_ids=mismatched,
        KL_attention_mask=ones,
        KL_completion_mask=completion,
        label=labels,
    )


def main():
    # The tiny model checkpoints nothing.
    kto_trainer.disable_gradient_checkpointing = lambda *_: nullcontext()

    generator = torch.Generator().manual_seed(71)
    policy, reference = Tiny(generator), Tiny(generator)
    with torch.no_grad():
        for mine, theirs in zip(policy.parameters(), reference.parameters(), strict=True):
            theirs.copy_(mine + 0.3 * theirs)
    tokens = torch.randint(VOCAB, (ROWS, PROMPT + COMPLETION), generator=generator)
    labels = torch.rand(ROWS, generator=generator) < 0.5
    lines = [("tokens", tokens), ("labels", labels.long())]
    lines += [(f"policy.{name}", value.detach().clone()) for name, value in policy.named_parameters()]
    lines += [(f"reference.{name}", value.detach()) for name, value in reference.named_parameters()]
    settings = [BATCH, PROMPT, BETA, DESIRABLE, UNDESIRABLE, LEARNING_RATE, WEIGHT_DECAY]
    lines += [("settings", torch.tensor(settings, dtype=torch.float64))]

    optimiser = torch.optim.AdamW(policy.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    stand_in = trainer(policy, reference)
    steps = []
    for step in range(STEPS):
        rows = [(step * BATCH + i) % ROWS for i in range(BATCH)]
        loss = KTOTrainer._compute_loss(stand_in, policy, inputs(tokens[rows], labels[rows]), False)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        steps.append([loss.item(), stand_in._metrics["train"]["kl"][-1]])
    kls = [kl for _, kl in steps]
    assert 0 < sum(kl > 0 for kl in kls) and any(kl == 0 for kl in kls), f"z0 both clamped and not: {kls}"
    lines += [("steps", torch.tensor(steps, dtype=torch.float64))]
    lines += [(f"final.{name}", value.detach()) for name, value in policy.named_parameters()]

    folder = FIXTURES / "libtorch"
    folder.mkdir(exist_ok=True)
    text = "".join(
        " ".join([name, str(value.dim()), *map(str, value.shape), *map(repr, value.flatten().tolist())]) + "\n"
        for name, value in lines
    )
    (folder / "kto.txt").write_text(text)


if __name__ == "__main__":
    main()
