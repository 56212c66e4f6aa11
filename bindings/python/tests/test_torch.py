"""halo.torch: gradients, compilation, dtypes, ranks."""

import os
import tempfile
import unittest
import warnings

import halo

try:
    import torch
except ImportError:
    raise unittest.SkipTest("torch is not installed") from None

ROWS = 6


def rows(seed=0, dtype=torch.float64, count=ROWS):
    """(logps, ref_logps, labels, kl_logps, ref_kl_logps)"""
    random = torch.Generator().manual_seed(seed)
    draw = lambda shift: shift + 3 * torch.randn(count, generator=random, dtype=torch.float64)
    logps, ref_logps, kl_logps = draw(-20), draw(-20), draw(-30)
    labels = torch.arange(count) % 3 != 1
    ref_kl_logps = kl_logps - 0.5 + draw(0) / 30
    given = (logps, ref_logps, labels, kl_logps, ref_kl_logps)
    return tuple(value if value.dtype == torch.bool else value.to(dtype) for value in given)


def with_gradient(value):
    return value.detach().clone().requires_grad_()


class Gradients(unittest.TestCase):
    def test_finite_differences_agree_for_every_unpaired_and_paired_loss(self):
        logps, ref_logps, labels, kl_logps, ref_kl_logps = rows()
        checked = 0
        for spec in halo.registry()["losses"]:
            about = halo.Loss(spec["name"]).describe()
            if about["shape"] not in ("unpaired", "paired") or about["couples"] or about["per_token"]:
                continue
            if about["shape"] == "paired":
                labels = torch.tensor([1, -1] * (ROWS // 2), dtype=torch.int8)
            tokens = torch.arange(10, 10 + ROWS, dtype=torch.int32)
            given = {"tokens": tokens, "z0": 0.2, "rewards": torch.zeros(ROWS)}
            function = lambda x: halo.torch.loss(spec["name"], x, ref_logps, labels, **given).loss
            with self.subTest(spec["name"]):
                # Log-ratios of likelihoods that are less than one: far from ln 1 = 0.
                self.assertTrue(torch.autograd.gradcheck(function, (with_gradient(logps),), atol=1e-7))
            checked += 1
        self.assertGreater(checked, 15)

    def test_the_reference_point_gets_no_gradient(self):
        logps, ref_logps, labels, kl_logps, ref_kl_logps = rows()
        logps, kl_logps = with_gradient(logps), with_gradient(kl_logps)
        out = halo.torch.kto_loss(logps, ref_logps, labels, kl_logps, ref_kl_logps, beta=0.1)
        out.loss.backward()
        self.assertIsNone(kl_logps.grad)
        self.assertTrue((logps.grad != 0).all())
        z0, raw, _ = out.reference_point.tolist()
        self.assertAlmostEqual(raw, (kl_logps - ref_kl_logps).mean().item(), delta=1e-12)
        again = halo.torch.kto_loss(logps, ref_logps, labels, z0=z0, beta=0.1)
        self.assertEqual(again.loss.item(), out.loss.item())

    def test_what_flows_back_multiplies(self):
        logps, ref_logps, labels, *_ = rows()
        one, scaled = with_gradient(logps), with_gradient(logps)
        halo.torch.kto_loss(one, ref_logps, labels, z0=0.0).loss.backward()
        (halo.torch.kto_loss(scaled, ref_logps, labels, z0=0.0).loss * 1024).backward()
        self.assertTrue(torch.equal(scaled.grad, one.grad * 1024))

    def test_rewards_are_no_way_back(self):
        logps, ref_logps, labels, *_ = rows()
        out = halo.torch.kto_loss(with_gradient(logps), ref_logps, labels, z0=0.0)
        self.assertFalse(out.rewards.requires_grad or out.metric_sums.requires_grad)

    def test_a_second_derivative_is_refused(self):
        logps, ref_logps, labels, *_ = rows()
        logps = with_gradient(logps)
        loss = halo.torch.kto_loss(logps, ref_logps, labels, z0=0.0).loss
        (slope,) = torch.autograd.grad(loss, logps, create_graph=True)
        with self.assertRaisesRegex(RuntimeError, "differentiated once"):
            slope.pow(2).sum().backward()

    def test_tokens_with_a_mask_are_their_sums(self):
        random = torch.Generator().manual_seed(1)
        token_logps = -torch.rand(ROWS, 5, generator=random, dtype=torch.float64)
        ref = token_logps - 0.1 * torch.rand(ROWS, 5, generator=random, dtype=torch.float64)
        mask = torch.rand(ROWS, 5, generator=random) < 0.7
        labels = rows()[2]
        by_token, by_row = with_gradient(token_logps), with_gradient(token_logps)
        first = halo.torch.kto_loss(by_token, ref, labels, completion_mask=mask, z0=0.1)
        second = halo.torch.kto_loss((by_row * mask).sum(1), (ref * mask).sum(1), labels, z0=0.1)
        self.assertAlmostEqual(first.loss.item(), second.loss.item(), delta=1e-14)
        for out in (first, second):
            out.loss.backward()
        torch.testing.assert_close(by_token.grad, by_row.grad, rtol=1e-12, atol=1e-16)
        self.assertTrue((by_token.grad[~mask] == 0).all())

    def test_losses_of_tokens(self):
        random = torch.Generator().manual_seed(2)
        logps = with_gradient(-torch.rand(4, 3, generator=random, dtype=torch.float64))
        old = logps.detach() + 0.01
        mask = torch.tensor([[1, 1, 1], [1, 1, 0], [1, 0, 0], [1, 1, 1]])
        advantages = torch.tensor([1.0, -1.0, 0.5, -0.5])
        given = {"old_logps": old, "completion_mask": mask, "advantages": advantages}
        function = lambda x: halo.torch.loss("grpo", x, logps.detach(), **given).loss
        self.assertTrue(torch.autograd.gradcheck(function, (logps,)))


class Kinds(unittest.TestCase):
    def test_half_precision_gets_its_gradient_back_and_loses_nothing_on_the_way(self):
        for dtype, kept in ((torch.float32, torch.float32), (torch.bfloat16, torch.float32)):
            logps, ref_logps, labels, *_ = rows(dtype=dtype)
            logps = with_gradient(logps)
            out = halo.torch.kto_loss(logps, ref_logps, labels, z0=0.1)
            out.loss.backward()
            self.assertEqual((out.loss.dtype, out.rewards.dtype, logps.grad.dtype), (kept, kept, dtype))
            exact = with_gradient(logps.double())
            halo.torch.kto_loss(exact, ref_logps.double(), labels, z0=0.1).loss.backward()
            self.assertTrue(torch.equal(logps.grad, exact.grad.to(kept).to(dtype)))

    def test_pairs_beside_each_other_are_pairs_in_turn(self):
        chosen, ref_chosen, *_ = rows(1)
        rejected, ref_rejected, *_ = rows(2)
        given = [with_gradient(value) for value in (chosen, rejected)]
        out = halo.torch.pair_loss("dpo", *given, ref_chosen, ref_rejected, beta=0.2)
        out.loss.backward()
        margin = 0.2 * ((chosen - ref_chosen) - (rejected - ref_rejected))
        self.assertAlmostEqual(out.loss.item(), -torch.nn.functional.logsigmoid(margin).mean().item(), delta=1e-14)
        self.assertTrue(torch.equal(given[0].grad, -given[1].grad))
        torch.testing.assert_close(out.rewards[0::2] - out.rewards[1::2], margin)

    def test_a_loss_object_and_its_name_agree(self):
        logps, ref_logps, labels, *_ = rows()
        named = halo.torch.loss("kto", logps, ref_logps, labels, z0=0.0, beta=0.3)
        made = halo.torch.loss(halo.Loss("kto", beta=0.3), logps, ref_logps, labels, z0=0.0)
        self.assertEqual(named.loss, made.loss)

    def test_metrics_have_trls_names(self):
        metrics = halo.torch.kto_loss(*rows(), beta=0.1).metrics()
        for name in ("loss", "kl", "rewards/chosen", "rewards/rejected", "rewards/margins", "logps/chosen"):
            self.assertIn(name, metrics)

    def test_what_is_missing_is_said(self):
        logps, ref_logps, labels, *_ = rows()
        with self.assertRaisesRegex(ValueError, "kl_logps and ref_kl_logps, or z0"):
            halo.torch.kto_loss(logps, ref_logps, labels)
        with self.assertRaisesRegex(ValueError, "ref_logps has the shape"):
            halo.torch.kto_loss(logps, ref_logps[:2], labels, z0=0.0)
        with self.assertRaisesRegex(halo.Error, "row 3") as caught:
            logps[3] = float("nan")
            halo.torch.kto_loss(logps, ref_logps, labels, z0=0.0)
        self.assertEqual(caught.exception.example, 3)

    def test_a_point_with_a_memory_is_kept_by_the_loop(self):
        logps, ref_logps, labels, *_ = rows()
        loss = halo.Loss("bco")
        with self.assertRaisesRegex(ValueError, "remembers earlier steps"):
            halo.torch.loss(loss, logps, ref_logps, labels)
        point, alone = halo.RefPoint.of_loss(loss), halo.RefPoint.of_loss(loss)
        for step in range(2):
            logps, ref_logps, labels, *_ = rows(step)
            out = halo.torch.loss(loss, logps, ref_logps, labels, point=point)
            columns = {"logp": logps.numpy(), "ref_logp": ref_logps.numpy(), "label": labels.numpy()}
            self.assertEqual(out.reference_point[0].item(), alone.estimate(**columns).value)

    def test_every_estimator_serves_the_loss(self):
        given = rows()
        tokens = torch.full((ROWS,), 7, dtype=torch.int32)
        for about in halo.registry()["reference_points"]:
            policy = "uniform" if about["name"] == "uniform" else "model"
            loss = halo.Loss("kto", reference_point=about["name"], reference_policy=policy)
            if loss.per_token or about["name"] == "token_max":
                continue
            more = {"groups": torch.arange(ROWS) // 2 + 1, "group_count": 3} if about["name"] == "per_prompt" else {}
            logps, ref_logps, labels, kl_logps, ref_kl_logps = given
            kl = {"kl_logps": kl_logps, "ref_kl_logps": ref_kl_logps}
            point = halo.RefPoint.of_loss(loss) if about["name"] != "zero" else None
            with self.subTest(about["name"]):
                out = halo.torch.loss(loss, logps, ref_logps, labels, tokens=tokens, point=point, **kl, **more)
                self.assertEqual(out.reference_point is None, about["source"] == "none")
                self.assertTrue(torch.isfinite(out.loss))


class Compiled(unittest.TestCase):
    def test_one_graph_gives_the_same_bits(self):
        logps, ref_logps, labels, kl_logps, ref_kl_logps = rows()

        def step(logps):
            out = halo.torch.kto_loss(logps, ref_logps, labels, kl_logps, ref_kl_logps, beta=0.1)
            return out.loss, out.rewards

        compiled = torch.compile(step, fullgraph=True, backend="aot_eager")
        eager_logps, compiled_logps = with_gradient(logps), with_gradient(logps)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            one, two = step(eager_logps), compiled(compiled_logps)
        for loss, rewards in (one, two):
            loss.backward()
        self.assertTrue(torch.equal(one[0], two[0]) and torch.equal(one[1], two[1]))
        self.assertTrue(torch.equal(eager_logps.grad, compiled_logps.grad))

    def test_torch_agrees_that_the_operator_is_one(self):
        logps, ref_logps, labels, *_ = rows()
        from halo.torch import ops

        given = {"logp": with_gradient(logps), "ref_logp": ref_logps, "label": labels}
        columns = [given.get(name) for name in ops.COLUMNS]
        tests = ("test_schema", "test_autograd_registration", "test_faketensor", "test_aot_dispatch_dynamic")
        torch.library.opcheck(ops.evaluate, (*columns, None, "kto", '{"beta": 0.1}'), test_utils=tests)


def _rank(rank, world, where, reduce, results):
    torch.distributed.init_process_group("gloo", init_method=f"file://{where}", rank=rank, world_size=world)
    given = rows(3, count=5)
    mine = [value[:2] if rank == 0 else value[2:] for value in given]
    torch.manual_seed(0)
    model = torch.nn.Linear(1, 1, dtype=torch.float64)
    if reduce == "mean":
        model = torch.nn.parallel.DistributedDataParallel(model)
    logps = model(mine[0].unsqueeze(1)).squeeze(1)
    out = halo.torch.kto_loss(logps, *mine[1:], beta=0.1, gradient_reduce=reduce)
    out.loss.backward()
    gradients = [parameter.grad.clone() for parameter in model.parameters()]
    if reduce == "sum":
        for gradient in gradients:
            torch.distributed.all_reduce(gradient)
    metrics = out.metrics()
    if rank == 0:
        torch.save((gradients, out.reference_point, metrics), results)
    torch.distributed.destroy_process_group()


@unittest.skipUnless(torch.distributed.is_available() and hasattr(os, "fork"), "no torch.distributed here")
class Ranks(unittest.TestCase):
    def test_two_uneven_ranks_are_one(self):
        torch.manual_seed(0)
        model = torch.nn.Linear(1, 1, dtype=torch.float64)
        logps, *others = rows(3, count=5)
        out = halo.torch.kto_loss(model(logps.unsqueeze(1)).squeeze(1), *others, beta=0.1)
        out.loss.backward()
        for reduce in ("mean", "sum"):
            with tempfile.TemporaryDirectory() as folder, self.subTest(reduce):
                results = os.path.join(folder, "results")
                arguments = (2, os.path.join(folder, "meet"), reduce, results)
                torch.multiprocessing.spawn(_rank, arguments, nprocs=2)
                gradients, point, metrics = torch.load(results)
                for found, parameter in zip(gradients, model.parameters()):
                    torch.testing.assert_close(found, parameter.grad, rtol=1e-12, atol=1e-15)
                torch.testing.assert_close(point, out.reference_point, rtol=1e-14, atol=0)
                for name, value in out.metrics().items():
                    if value is not None:
                        self.assertAlmostEqual(metrics[name], value, delta=1e-12, msg=name)

    def test_another_reduction_is_unknown(self):
        with self.assertRaisesRegex(ValueError, "'mean' or 'sum'"):
            halo.torch.kto_loss(*rows(), gradient_reduce="max")


if __name__ == "__main__":
    unittest.main()
