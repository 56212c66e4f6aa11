"""TRL's own code beside halo.torch: its trainers' loss functions, run on a model that is a table of log-probabilities."""

import unittest
from collections import defaultdict
from types import SimpleNamespace

import halo

try:
    import torch
    from trl import DPOTrainer, KTOTrainer
except ImportError:
    raise unittest.SkipTest("torch and trl are not installed") from None

ROWS, WIDTH = 6, 5


class Table(torch.nn.Module):
    """Log-probabilities of tokens as TRL's models give them: those of the inputs whose first token names the table."""

    def __init__(self, *tables):
        super().__init__()
        self.tables = torch.nn.ParameterList(tables)

    def forward(self, input_ids, labels, **_):
        table = self.tables[input_ids[0, 0]]
        masked = table * (labels[:, 1:] != -100)
        flat = torch.zeros_like(table)
        return SimpleNamespace(log_probs=masked, entropy=flat, mean_logits=flat, is_top1=flat > 0)


def table(seed):
    random = torch.Generator().manual_seed(seed)
    return -3 * torch.rand(ROWS, WIDTH, generator=random, dtype=torch.float64)


def inputs(number):
    ids = torch.full((ROWS, WIDTH + 1), number)
    mask = torch.ones(ROWS, WIDTH + 1, dtype=torch.long)
    mask[:, 0] = 0
    mask[1, -2:] = 0
    return ids, torch.ones_like(ids), mask


def trainer(kind, model, **settings):
    """What the loss functions read of a trainer, and nothing that trains."""
    same = lambda value: value
    accelerator = SimpleNamespace(device=torch.device("cpu"), gather_for_metrics=same, gather=same)
    stub = SimpleNamespace(
        model=model,
        ref_model=None,
        accelerator=accelerator,
        aux_loss_enabled=False,
        precompute_ref_logps=True,
        _metrics={"train": defaultdict(list), "eval": defaultdict(list)},
        _total_train_tokens=0,
        _tp_size=1,
        **settings,
    )
    stub._compute_kl_logps = lambda *arguments: kind._compute_kl_logps(stub, *arguments)
    return stub


class Parity(unittest.TestCase):
    @unittest.skipUnless(hasattr(KTOTrainer, "_compute_kl_logps"), "not the TRL that these tests know (1.16)")
    def test_kto_losses_gradients_and_metrics(self):
        # KL above 0, and below, where it is clamped
        for shift in (0.5, -0.5):
            model = Table(table(1), table(2))
            ref, ref_kl = table(3), table(2) - shift
            (ids, attention, mask), (kl_ids, kl_attention, kl_mask) = inputs(0), inputs(1)
            ref_logps = (ref * mask[:, 1:]).sum(1)
            ref_kl_logps = (ref_kl * kl_mask[:, 1:]).sum(1)
            labels = torch.tensor([True, False, True, True, False, False])
            for name in ("kto", "apo_zero_unpaired"):
                kto = name == "kto"
                stub = trainer(
                    KTOTrainer, model, calculate_KL=kto, loss_type=name, beta=0.2, desirable_weight=1.3, undesirable_weight=0.7
                )
                batch = {
                    "input_ids": ids,
                    "attention_mask": attention,
                    "completion_mask": mask,
                    "KL_input_ids": kl_ids,
                    "KL_attention_mask": kl_attention,
                    "KL_completion_mask": kl_mask,
                    "label": labels,
                    "ref_logps": ref_logps,
                    "ref_KL_logps": ref_kl_logps,
                }
                if not kto:
                    batch = {key: value for key, value in batch.items() if "KL" not in key}
                theirs = KTOTrainer._compute_loss(stub, model, batch, return_outputs=False)
                model.zero_grad()
                theirs.backward()
                gradient = model.tables[0].grad.clone()
                model.zero_grad()
                logps = (model.tables[0] * mask[:, 1:]).sum(1)
                kl_logps = (model.tables[1] * kl_mask[:, 1:]).sum(1)
                ours = halo.torch.loss(
                    name,
                    logps,
                    ref_logps,
                    labels,
                    kl_logps=kl_logps,
                    ref_kl_logps=ref_kl_logps,
                    beta=0.2,
                    desirable_weight=1.3,
                    undesirable_weight=0.7,
                )
                ours.loss.backward()
                with self.subTest(name, shift=shift):
                    self.assertAlmostEqual(ours.loss.item(), theirs.item(), delta=1e-14)
                    torch.testing.assert_close(model.tables[0].grad, gradient, rtol=1e-12, atol=1e-16)
                    metrics = ours.metrics()
                    for key in ("rewards/chosen", "rewards/rejected", "rewards/margins", "logps/chosen", "logps/rejected"):
                        self.assertAlmostEqual(metrics[key], stub._metrics["train"][key][-1], delta=1e-12, msg=key)
                    if kto:
                        self.assertAlmostEqual(metrics["kl"], stub._metrics["train"]["kl"][-1], delta=1e-12)

    def test_dpo_losses_and_gradients(self):
        model = Table(table(1))
        ids, attention, mask = inputs(0)
        ref_logps = (table(3) * mask[:, 1:]).sum(1)
        ref_chosen, ref_rejected = ref_logps.chunk(2)
        names = {"sigmoid": "dpo", "hinge": "hinge", "apo_zero": "apo_zero", "apo_down": "apo_down", "sppo_hard": "sppo"}
        for theirs_name, name in names.items():
            stub = trainer(
                DPOTrainer,
                model,
                ld_alpha=None,
                f_divergence_type="reverse_kl",
                loss_types=[theirs_name],
                loss_weights=[1.0],
                beta=0.2,
                label_smoothing=0.0,
                use_weighting=False,
                args=SimpleNamespace(),
            )
            batch = {
                "input_ids": ids,
                "attention_mask": attention,
                "completion_mask": mask,
                "ref_chosen_logps": ref_chosen,
                "ref_rejected_logps": ref_rejected,
            }
            theirs = DPOTrainer._compute_loss(stub, model, batch, return_outputs=False)
            model.zero_grad()
            theirs.backward()
            gradient = model.tables[0].grad.clone()
            model.zero_grad()
            chosen, rejected = (model.tables[0] * mask[:, 1:]).sum(1).chunk(2)
            ours = halo.torch.pair_loss(name, chosen, rejected, ref_chosen, ref_rejected, beta=0.2)
            ours.loss.backward()
            with self.subTest(name):
                self.assertAlmostEqual(ours.loss.item(), theirs.item(), delta=1e-13 * max(1.0, abs(theirs.item())))
                torch.testing.assert_close(model.tables[0].grad, gradient, rtol=1e-12, atol=1e-16)


if __name__ == "__main__":
    unittest.main()
