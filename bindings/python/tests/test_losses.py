"""Losses: arrays without a copy, errors that name what is wrong, threads, processes."""

import copy
import json
import os
import pickle
import threading
import unittest

import numpy as np

import halo

LOGP = np.array([-20.0, -18.0, -31.5, -9.0])
REF = np.array([-22.0, -17.0, -30.0, -9.5])
LABEL = np.array([1, -1, 1, -1], np.int8)


def kto(**more):
    columns = {"logp": LOGP, "ref_logp": REF, "label": LABEL, "z0": 0.3, **more}
    return halo.Loss("kto", beta=0.1).evaluate(**columns)


class Evaluation(unittest.TestCase):
    def test_a_gradient_is_the_finite_difference(self):
        out = kto()
        step = 1e-5
        for row in range(4):
            moved = [LOGP + sign * step * np.eye(4)[row] for sign in (1, -1)]
            slope = (kto(logp=moved[0]).loss - kto(logp=moved[1]).loss) / (2 * step)
            self.assertAlmostEqual(out.d_logp[row], slope, delta=1e-9)

    def test_rewards_and_metrics_are_the_scaled_log_ratios(self):
        out = kto()
        np.testing.assert_allclose(out.rewards, 0.1 * (LOGP - REF), rtol=1e-15)
        self.assertAlmostEqual(out.metrics["rewards/chosen"], 0.1 * (2.0 - 1.5) / 2)
        self.assertEqual(out.metrics["kl"], 0.3)

    def test_single_precision_comes_back_as_such(self):
        out = kto(logp=LOGP.astype(np.float32), ref_logp=REF.astype(np.float32))
        self.assertEqual((out.d_logp.dtype, out.rewards.dtype), (np.float32, np.float32))
        np.testing.assert_array_equal(out.d_logp, kto().d_logp.astype(np.float32))

    def test_one_double_column_makes_all_double(self):
        self.assertEqual(kto(ref_logp=REF.astype(np.float32)).d_logp.dtype, np.float64)

    def test_layout_and_kind_of_an_array_do_not_matter(self):
        expected = kto().d_logp.tolist()
        strided = np.repeat(LOGP, 2)[::2]
        swapped = LOGP.astype(">f8")
        self.assertFalse(strided.flags.c_contiguous)
        for logp in (strided, swapped, LOGP.tolist(), tuple(LOGP)):
            self.assertEqual(kto(logp=logp).d_logp.tolist(), expected)
        for label in (LABEL > 0, LABEL.astype(np.int64), LABEL.astype(np.float32), LABEL.tolist()):
            self.assertEqual(kto(label=label).d_logp.tolist(), expected)

    def test_a_reference_point_may_be_one_or_a_row_each(self):
        self.assertEqual(kto(z0=np.full(4, 0.3)).loss, kto().loss)
        self.assertNotEqual(kto(z0=0.0).loss, kto().loss)

    def test_counts_make_micro_batches_one_batch(self):
        loss = halo.Loss("kto", beta=0.1)
        parts = [slice(0, 1), slice(1, 4)]
        columns = [{"logp": LOGP[p], "ref_logp": REF[p], "label": LABEL[p]} for p in parts]
        counts = halo.Counts(*map(sum, zip(*(loss.count(**c) for c in columns))))
        self.assertEqual(counts.units, 4)
        outs = [loss.evaluate(z0=0.3, counts=counts, **c) for c in columns]
        whole = kto()
        self.assertEqual(np.concatenate([o.d_logp for o in outs]).tolist(), whole.d_logp.tolist())
        self.assertAlmostEqual(sum(o.loss for o in outs), whole.loss, delta=1e-15)
        sums = outs[0].metric_sums + outs[1].metric_sums
        for name, value in whole.metrics.items():
            if value is not None:
                self.assertAlmostEqual(loss.summarize(sums)[name], value, delta=1e-12, msg=name)

    def test_pairs_by_group_and_by_turn_agree(self):
        loss = halo.Loss("dpo", beta=0.2)
        turn = loss.evaluate(logp=LOGP, ref_logp=REF, label=LABEL)
        order = [0, 2, 1, 3]
        group = loss.evaluate(logp=LOGP[order], ref_logp=REF[order], label=LABEL[order], group=[7, 9, 7, 9])
        self.assertEqual(group.loss, turn.loss)
        self.assertEqual(group.d_logp[np.argsort(order)].tolist(), turn.d_logp.tolist())

    def test_tokens_have_gradients_of_their_own(self):
        offsets = [0, 3, 5]
        token_logp = np.linspace(-3, -1, 5)
        out = halo.Loss("grpo").evaluate(
            token_logp=token_logp, token_ref_logp=token_logp, token_old_logp=token_logp, offsets=offsets, advantage=[1.0, -1.0]
        )
        self.assertIsNone(out.d_logp)
        self.assertEqual(out.d_token_logp.shape, (5,))
        self.assertTrue((out.d_token_logp[:3] < 0).all() and (out.d_token_logp[3:] > 0).all())

    def test_no_rows_are_a_loss_of_zero(self):
        out = kto(logp=[], ref_logp=[], label=np.array([], np.int8))
        self.assertEqual((out.loss, out.d_logp.size), (0.0, 0))


class Errors(unittest.TestCase):
    def refused(self, name, call, **fields):
        with self.assertRaises(halo.Error) as caught:
            call()
        error = caught.exception
        self.assertEqual(error.name, name, error)
        for field, value in fields.items():
            self.assertEqual(getattr(error, field), value, field)
        return error

    def test_names_and_values(self):
        error = self.refused("HALO_E_NOT_FOUND", lambda: halo.Loss("kt0"), argument="name")
        self.assertIn('did you mean "kto"', str(error))
        self.refused("HALO_E_NOT_FOUND", lambda: halo.Loss("kto", bta=1.0), argument="params_json")
        self.refused("HALO_E_INVALID_ARGUMENT", lambda: halo.Loss("kto", beta=-1.0), site="loss.beta")

    def test_a_nan_is_refused_with_its_row(self):
        logp = LOGP.copy()
        logp[2] = np.nan
        error = self.refused("HALO_E_NONFINITE", lambda: kto(logp=logp), example=2, argument="batch")
        self.assertIn("row 2", error.message)

    def test_elements_that_are_not_read(self):
        self.refused("HALO_E_DTYPE", lambda: kto(logp=LOGP.astype(np.float16)), site="batch.logp")
        self.refused("HALO_E_DTYPE", lambda: kto(logp=LOGP.astype(complex)), site="batch.logp")
        self.refused("HALO_E_DTYPE", lambda: kto(logp=["a"] * 4), site="batch.logp")
        self.refused("HALO_E_DTYPE", lambda: kto(label=[1, 1, 300, 1]), site="batch.label", example=2)
        self.refused("HALO_E_DTYPE", lambda: kto(label=[1, 0.5, 1, 1]), site="batch.label", example=1)
        self.refused("HALO_E_DTYPE", lambda: kto(group=[1, -1, 1, 1]), site="batch.group", example=1)

    def test_lengths_that_disagree_never_reach_the_library(self):
        self.refused("HALO_E_SHAPE", lambda: kto(ref_logp=REF[:2]), site="batch.ref_logp")
        self.refused("HALO_E_SHAPE", lambda: kto(logp=LOGP.reshape(2, 2)), site="batch.logp")
        self.refused("HALO_E_SHAPE", lambda: kto(offsets=[0, 1, 2, 3, 9], token_logp=LOGP), site="batch.token_logp")
        self.refused("HALO_E_SHAPE", lambda: kto(offsets=[0, 1, 2]), site="batch.logp")
        self.refused("HALO_E_SHAPE", lambda: kto(offsets=[]), site="batch.offsets")
        self.refused("HALO_E_SHAPE", lambda: kto(offsets=[0, 1, 2, 3, -4]), site="batch.offsets")

    def test_a_missing_column_is_named(self):
        error = self.refused("HALO_E_INVALID_ARGUMENT", lambda: kto(ref_logp=None), site="batch.ref_logp")
        self.assertIn("kto needs", error.message)

    def test_an_unknown_column_is_a_type_error(self):
        with self.assertRaisesRegex(TypeError, "unknown column 'logps'; known: label"):
            kto(logps=LOGP)

    def test_errors_travel_between_processes(self):
        error = self.refused("HALO_E_NOT_FOUND", lambda: halo.Loss("kt0"))
        again = pickle.loads(pickle.dumps(error))
        self.assertEqual((str(again), again.__dict__), (str(error), error.__dict__))


class Sharing(unittest.TestCase):
    def test_threads_share_a_loss(self):
        loss, expected, found = halo.Loss("kto", beta=0.1), kto().d_logp.tolist(), []

        def work():
            for _ in range(200):
                out = loss.evaluate(logp=LOGP, ref_logp=REF, label=LABEL, z0=0.3)
                if out.d_logp.tolist() != expected:
                    return
            found.append(True)

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(found, [True] * 4)

    def test_a_copied_loss_is_the_same_loss(self):
        loss = halo.Loss("dpo", beta=0.3)
        for again in (pickle.loads(pickle.dumps(loss)), copy.deepcopy(loss)):
            self.assertEqual(again.describe(), loss.describe())

    @unittest.skipUnless(hasattr(os, "fork"), "no fork here")
    def test_a_forked_child_goes_on(self):
        loss, expected = halo.Loss("kto", beta=0.1), kto().loss
        child = os.fork()
        if child == 0:
            same = loss.evaluate(logp=LOGP, ref_logp=REF, label=LABEL, z0=0.3).loss == expected
            os._exit(0 if same and kto().loss == expected else 1)
        self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), 0)


class Descriptions(unittest.TestCase):
    def test_the_registry_lists_what_can_be_made(self):
        for spec in halo.registry()["losses"]:
            self.assertEqual(halo.Loss(spec["name"]).describe()["name"], spec["name"])

    def test_the_build_says_what_it_is(self):
        self.assertEqual(halo.build()["version"], halo.__version__)
        json.dumps(halo.build())


if __name__ == "__main__":
    unittest.main()
