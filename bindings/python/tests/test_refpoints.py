"""Reference points: ranks and steps, memory, and what is not copied."""

import copy
import json
import pickle
import unittest
from pathlib import Path

import numpy as np

import halo

GOLDEN = Path(__file__).parents[3] / "testdata/golden/reference_point.json"
SIGNS = {"desirable": 1, "undesirable": -1}


def columns(rows, role):
    return {
        "logp": [row["logp"] for row in rows],
        "ref_logp": [row["ref_logp"] for row in rows],
        "label": np.array([SIGNS[row["label"]] for row in rows], np.int8),
        "tokens": np.array([row["tokens"] for row in rows], np.int32),
        "role": np.full(len(rows), role, np.uint8),
    }


class Points(unittest.TestCase):
    @unittest.skipUnless(GOLDEN.exists(), "the golden files are not beside this package")
    def test_ranks_and_steps_give_the_golden_points(self):
        sources = {point["name"]: point for point in halo.registry()["reference_points"]}
        checked = set()
        for case in json.loads(GOLDEN.read_text())["cases"]:
            about = sources[case["estimator"]]
            if about["per_row"] or about["source"] == "none":
                continue
            role = halo.MISMATCH if about["source"] == "mismatched" else halo.SCORED
            settings = {"length_average": case["length_average"], **case["settings"]}
            point = halo.RefPoint(case["estimator"], **settings)
            for step in case["steps"]:
                parts = [point.accumulate(**columns(rows, role)) for rows in step["ranks"]]
                found = point.finish(np.sum(parts, axis=0))
            with self.subTest(f"{case['estimator']}: {case['name']}"):
                self.assertAlmostEqual(found.value, case["point"]["value"], delta=1e-13)
                self.assertAlmostEqual(found.raw, case["point"]["raw"], delta=1e-13)
            checked.add(case["estimator"])
        self.assertGreaterEqual(checked, {"mismatch", "halos", "ema", "ring_buffer", "running_mean"})

    def test_an_estimator_of_a_loss_serves_its_rows(self):
        point = halo.RefPoint.of_loss(halo.Loss("kto"))
        rows = {"logp": [-20.0, -9.0], "ref_logp": [-21.0, -9.5], "role": [halo.SCORED, halo.MISMATCH]}
        found = point.estimate(**rows)
        self.assertEqual(found, (0.5, 0.5, False))
        self.assertEqual(point.apply(**rows).tolist(), [0.5, 0.0])

    def test_sums_are_added_to_in_place(self):
        point = halo.RefPoint("mismatch")
        rows = {"logp": [-1.0], "ref_logp": [-2.0], "role": [halo.MISMATCH]}
        acc = np.zeros(point.width())
        self.assertIs(point.accumulate(acc, **rows), acc)
        point.accumulate(acc, **rows)
        self.assertEqual(point.finish(acc).value, 1.0)
        with self.assertRaisesRegex(TypeError, "in place"):
            point.accumulate([0.0, 0.0], **rows)
        with self.assertRaises(halo.Error) as caught:
            point.accumulate(np.zeros(9), **rows)
        self.assertEqual((caught.exception.name, caught.exception.argument), ("HALO_E_SHAPE", "width"))

    def test_a_memory_goes_on_in_another_process(self):
        rows = {"logp": [-1.0, -3.0], "ref_logp": [-2.0, -2.5]}
        first = halo.RefPoint("ema", decay=0.5)
        first.estimate(**rows)
        second = halo.RefPoint("ema", decay=0.5)
        second.load(first.save())
        self.assertEqual(first.estimate(**rows), second.estimate(**rows))
        with self.assertRaises(halo.Error) as caught:
            second.load(b"{}")
        self.assertEqual((caught.exception.name, caught.exception.argument), ("HALO_E_FORMAT", "data"))
        self.assertEqual(first.save(), second.save())

    def test_a_state_is_not_copied(self):
        point = halo.RefPoint("ema")
        for copied in (pickle.dumps, copy.deepcopy):
            with self.assertRaisesRegex(TypeError, "save"):
                copied(point)

    def test_a_loss_without_a_point_says_so(self):
        with self.assertRaisesRegex(halo.Error, "dpo has no reference point"):
            halo.RefPoint.of_loss(halo.Loss("dpo"))


if __name__ == "__main__":
    unittest.main()
