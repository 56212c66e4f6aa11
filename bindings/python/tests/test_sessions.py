"""A model that the engine owns: the demo's, with its feedback."""

import json
import unittest
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

import halo

DEMO = Path(__file__).parents[3] / "testdata/demo"
CONFIG = {
    "model": str(DEMO / "model"),
    "loss": "kto",
    "loss_parameters": {"beta": 0.5},
    "per_device_train_batch_size": 8,
    "max_steps": 3,
    "learning_rate": 2e-3,
    "max_length": 64,
}


def feedback(lines=48):
    records = halo.Dataset()
    records.load(DEMO / "feedback.jsonl", limit=lines)
    return records


@unittest.skipUnless("session" in halo.build()["features"], "this library has no sessions")
@unittest.skipUnless(DEMO.exists(), "the demo's model is not beside this package")
class Sessions(unittest.TestCase):
    def test_training_is_told_stopped_and_goes_on(self):
        whole = halo.Session(CONFIG)
        whole.attach(feedback())
        expected = whole.train()
        self.assertEqual(expected["step"], 3)

        session, told = halo.Session(CONFIG), []
        session.attach(feedback())

        def interrupted(phase, done, total):
            told.append((phase, done, total))
            if done == 1:
                raise KeyboardInterrupt

        with self.assertRaises(KeyboardInterrupt):
            session.train(progress=interrupted)
        self.assertEqual(told[-1], ("train", 1, 3))
        with self.assertRaises(halo.Error) as caught:
            session.train(progress=lambda *_: True)
        self.assertEqual(caught.exception.name, "HALO_E_CANCELLED")
        cancel = halo.Cancel()
        cancel.request()
        with self.assertRaises(halo.Error) as caught:
            session.train(cancel=cancel)
        self.assertEqual(caught.exception.name, "HALO_E_CANCELLED")
        self.assertEqual(session.train()["loss"], expected["loss"])

    def test_a_checkpoint_goes_on_with_the_same_numbers(self):
        first, second = halo.Session(CONFIG), halo.Session(CONFIG)
        for session in (first, second):
            session.attach(feedback())
        first.train(2)
        with TemporaryDirectory() as folder:
            first.save(Path(folder) / "checkpoint")
            second.load(Path(folder) / "checkpoint")
            second.export(Path(folder) / "model")
            self.assertTrue((Path(folder) / "model/config.json").exists())
        self.assertEqual(first.train()["loss"], second.train()["loss"])

    def test_scores_are_sums_over_tokens(self):
        session = halo.Session(CONFIG)
        prompt = session.tokenize("the cat")
        completions = [session.tokenize(text, continuation=True) for text in (" sat", " ran away")]
        sums = session.score([prompt] * 2, completions)
        tokens = session.score([prompt] * 2, completions, per_token=True)
        first = completions[0].size
        # Single precision on both ways.
        np.testing.assert_allclose(sums, [tokens[:first].sum(), tokens[first:].sum()], rtol=1e-5)
        self.assertTrue((tokens < 0).all())
        self.assertEqual(session.score([], []).size, 0)

    def test_text_comes_as_it_is_made(self):
        session, pieces = halo.Session(CONFIG), []
        options = {"max_new_tokens": 8, "temperature": 0}
        text = session.generate("the cat", stream=pieces.append, **options)
        self.assertEqual("".join(pieces), text)
        self.assertEqual(session.generate("the cat", **options), text)

    def test_errors_name_the_line(self):
        records = halo.Dataset()
        with self.assertRaises(halo.Error) as caught:
            records.load(DEMO / "nothing.jsonl")
        self.assertEqual(caught.exception.argument, "path")
        records.add_json({"prompt": "a", "completion": "b", "label": True})
        with self.assertRaises(halo.Error) as caught:
            records.add_json("{")
        self.assertEqual(caught.exception.example, 1)
        self.assertEqual(len(records), 1)
        json.dumps(feedback().diagnose())

    def test_an_unknown_setting_is_named_and_a_model_is_not_copied(self):
        with self.assertRaisesRegex(halo.Error, "learning_rat"):
            halo.Session({**CONFIG, "learning_rat": 1.0})
        with self.assertRaisesRegex(TypeError, "checkpoint"):
            halo.Session(CONFIG).__reduce__()


if __name__ == "__main__":
    unittest.main()
