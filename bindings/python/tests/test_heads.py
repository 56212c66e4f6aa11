"""halo.torch.head_logps beside torch's own log_softmax."""

import unittest

import halo

try:
    import torch
except ImportError:
    raise unittest.SkipTest("torch is not installed") from None


def inputs(dtype=torch.float32, rows=7, width=16, vocabulary=50):
    random = torch.Generator().manual_seed(0)
    draw = lambda *shape: torch.randn(*shape, generator=random).to(dtype).requires_grad_()
    targets = torch.randint(vocabulary, (rows,), generator=random)
    return draw(rows, width), draw(vocabulary, width), targets, draw(vocabulary)


def naive(hidden, weight, targets, bias, temperature=1.0, softcap=0.0):
    logits = hidden.double() @ weight.double().T + bias.double()
    if softcap:
        logits = softcap * torch.tanh(logits / softcap)
    return torch.log_softmax(logits / temperature, -1).gather(1, targets.clamp(min=0)[:, None])[:, 0] * (targets >= 0)


class Heads(unittest.TestCase):
    def test_values_and_gradients_are_those_of_log_softmax(self):
        for given in ({}, {"temperature": 0.7}, {"softcap": 5.0}, {"temperature": 1.3, "softcap": 5.0}):
            hidden, weight, targets, bias = inputs()
            targets[2] = -1
            seeds = torch.linspace(-1, 1, 7)
            found = []
            for function in (naive, lambda h, w, t, b, **z: halo.torch.head_logps(h, w, t, bias=b, **z)):
                logps = function(hidden, weight, targets, bias, **given)
                found.append((logps, *torch.autograd.grad(logps, (hidden, weight, bias), seeds.to(logps.dtype))))
            with self.subTest(given):
                for theirs, ours in zip(*found):
                    torch.testing.assert_close(ours.double(), theirs.double(), rtol=2e-5, atol=2e-5)
                self.assertEqual(found[1][0][2].item(), 0.0)

    def test_half_width_gets_gradients_of_its_type_and_frozen_ones_none(self):
        hidden, weight, targets, _ = inputs(torch.bfloat16)
        weight.requires_grad_(False)
        halo.torch.head_logps(hidden, weight, targets).sum().backward()
        self.assertEqual(hidden.grad.dtype, torch.bfloat16)
        self.assertIsNone(weight.grad)

    def test_a_loss_on_top_flows_through_and_compiles_in_one_graph(self):
        hidden, weight, targets, _ = inputs()
        labels = torch.tensor([True, False] * 3 + [True])
        reference = torch.full((7,), -4.0)

        def step(hidden, weight):
            logps = halo.torch.head_logps(hidden, weight, targets)
            return halo.torch.kto_loss(logps, reference, labels, z0=0.1).loss

        eager = torch.autograd.grad(step(hidden, weight), (hidden, weight))
        compiled = torch.compile(step, fullgraph=True, backend="aot_eager")
        for one, two in zip(eager, torch.autograd.grad(compiled(hidden, weight), (hidden, weight))):
            self.assertTrue(torch.equal(one, two))

    def test_a_target_outside_the_vocabulary_is_named_with_its_row(self):
        hidden, weight, targets, _ = inputs()
        targets[3] = 50
        with self.assertRaises(halo.Error) as caught:
            halo.torch.head_logps(hidden, weight, targets)
        self.assertEqual((caught.exception.name, caught.exception.example), ("HALO_E_INVALID_ARGUMENT", 3))
        with self.assertRaisesRegex(TypeError, "float64"):
            halo.torch.head_logps(hidden.double(), weight, targets)

    def test_a_second_derivative_is_refused(self):
        hidden, weight, targets, _ = inputs()
        (slope,) = torch.autograd.grad(halo.torch.head_logps(hidden, weight, targets).sum(), hidden, create_graph=True)
        with self.assertRaisesRegex(RuntimeError, "differentiated once"):
            slope.sum().backward()


if __name__ == "__main__":
    unittest.main()
