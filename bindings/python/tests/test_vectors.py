"""The golden cases: the same bits as the Rust crate gives on this machine."""

import json
import os
import unittest

import numpy as np

import halo

VECTORS = os.environ.get("HALO_VECTORS")


def bits(values):
    return np.asarray(values, np.float64).view(np.uint64).tolist()


@unittest.skipUnless(VECTORS, "HALO_VECTORS names no file: `cargo xtask clients Python` writes one")
class Vectors(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        with open(VECTORS) as file:
            cls.vectors = json.load(file)

    def test_every_loss_has_vectors(self):
        known = {spec["name"] for spec in halo.registry()["losses"]}
        self.assertEqual(known - {vector["loss"] for vector in self.vectors}, set())

    def test_values_gradients_rewards_and_zones_are_the_native_bits(self):
        for vector in self.vectors:
            with self.subTest(f"{vector['loss']}: {vector['name']}"):
                loss = halo.Loss(vector["loss"], **vector["params"])
                out = loss.evaluate(counts=halo.Counts(*vector["counts"]), **vector["columns"])
                expected = vector["expected"]
                slopes = out.d_token_logp if loss.per_token else out.d_logp
                self.assertEqual(bits([out.loss]), bits([expected["loss"]]))
                self.assertEqual(bits(slopes), bits(expected["slopes"]))
                self.assertEqual(bits(out.rewards), bits(expected["rewards"]))
                self.assertEqual(out.zones.tolist(), expected["zones"])


if __name__ == "__main__":
    unittest.main()
