"""A run whose model is the host's: a table of log-probabilities, one for each record."""

import unittest

import numpy as np

import halo

COUNT = 12


def data():
    records = halo.Dataset()
    for number in range(COUNT):
        records.add(tokens=[100 + number, number, number + 50], prompt_tokens=1, label=number % 3 != 1)
    return records


class Table:
    """ln p of a completion, whatever the prompt, is a number that gradient descent moves."""

    def __init__(self):
        self.logps = np.linspace(-8.0, -2.0, COUNT)
        self.reference = self.logps - np.linspace(-0.5, 0.8, COUNT)
        self.gradient = np.zeros(COUNT)
        self.forwards = {}
        self.rates = []

    def forward(self, work):
        rows = self.forwards[work.id] = work.tokens[work.offsets[:-1] + work.prompt_tokens]
        return (self.reference if work.reference else self.logps)[rows]

    def backward(self, work):
        np.add.at(self.gradient, self.forwards[work.forward_id][: work.grad_rows], work.values)

    def reduce(self, values):
        raise AssertionError("one rank has nobody to add up with")

    def optimizer_step(self, work):
        norm = float(np.linalg.norm(self.gradient))
        self.logps = self.logps - work.learning_rate * self.gradient
        self.gradient[:] = 0
        self.rates.append(work.learning_rate)
        return norm

    def checkpoint(self, work):
        pass

    def sync_reference(self, work):
        raise AssertionError("nobody asked for it")


CONFIG = {
    "loss": "kto",
    "loss_parameters": {"beta": 0.5},
    "per_device_train_batch_size": 4,
    "gradient_accumulation_steps": 2,
    "max_steps": 3,
    "learning_rate": 2.0,
    "lr_scheduler_type": "constant",
}


def trainer(**changes):
    made = halo.Trainer({**CONFIG, **changes})
    made.attach(data())
    return made


def whole(**changes):
    host = Table()
    trainer(**changes).run(host)
    return host.logps.tolist()


class Trainers(unittest.TestCase):
    def test_a_run_learns_what_the_labels_say(self):
        host = Table()
        before = host.logps.copy()
        metrics = trainer().run(host)
        self.assertEqual((metrics["step"], metrics["max_steps"], host.rates), (3, 3, [2.0] * 3))
        desirable = np.arange(COUNT) % 3 != 1
        moved = host.logps - before
        self.assertTrue((moved[desirable] >= 0).all() and (moved[~desirable] <= 0).all() and moved.any())

    def test_micro_batches_do_not_change_the_run(self):
        large = whole(per_device_train_batch_size=8, gradient_accumulation_steps=1)
        np.testing.assert_allclose(whole(), large, rtol=1e-13)

    def test_a_run_goes_on_where_it_was_saved(self):
        host, first = Table(), trainer()
        while not host.rates:
            work = first.next()
            first.submit(work, **first._done(host, work))
        second = trainer()
        second.load(first.save())
        second.run(host)
        self.assertEqual(host.logps.tolist(), whole())
        with self.assertRaises(halo.Error) as caught:
            second.load(b"{}")
        self.assertEqual(caught.exception.argument, "data")

    def test_a_hosts_exception_comes_out_and_the_step_is_offered_again(self):
        class Fails(Table):
            def backward(self, work):
                raise KeyError("out of memory")

        run = trainer()
        with self.assertRaisesRegex(KeyError, "out of memory"):
            run.run(Fails())
        host = Table()
        run.run(host)
        self.assertEqual(host.logps.tolist(), whole())

    def test_a_wrong_answer_is_refused_and_the_right_one_still_awaited(self):
        run = trainer()
        work = run.next()
        self.assertEqual(work.kind, halo.WorkKind.FORWARD)
        with self.assertRaises(halo.Error) as caught:
            run.submit(work, [0.0])
        self.assertEqual((caught.exception.name, caught.exception.site), ("HALO_E_SHAPE", "answer.value_count"))
        with self.assertRaises(halo.Error) as caught:
            run.submit(work, np.full(work.value_count, np.nan))
        self.assertEqual(caught.exception.name, "HALO_E_NONFINITE")
        run.submit(work, Table().forward(work))

    def test_settings(self):
        with self.assertRaisesRegex(halo.Error, "learning_rat") as caught:
            halo.Trainer({"learning_rat": 1.0})
        self.assertEqual(caught.exception.argument, "config_json")
        host, run = Table(), trainer()
        run.set("learning_rate", 0.25)
        run.run(host)
        self.assertEqual(host.rates, [0.25] * 3)

    def test_data_are_frozen_once_attached(self):
        records = data()
        self.assertEqual(len(records), COUNT)
        halo.Trainer(CONFIG).attach(records)
        with self.assertRaisesRegex(halo.Error, "attached"):
            records.add(tokens=[1, 2], prompt_tokens=1, label=1)
        for made in (records, halo.Trainer(CONFIG)):
            with self.assertRaises(TypeError):
                made.__reduce__()


class Pairing(unittest.TestCase):
    def test_partners_are_of_another_group(self):
        group = np.arange(20) // 2
        for seed in range(5):
            partner = halo.draw_pairing(20, group=group, seed=seed)
            self.assertEqual(sorted(partner), list(range(20)))
            self.assertTrue((group[partner] != group).all())
        self.assertEqual(halo.draw_pairing(1).tolist(), [0])
        with self.assertRaises(ValueError):
            halo.draw_pairing(3, group=[1, 2])


if __name__ == "__main__":
    unittest.main()
