"""One run of TRL's KTOTrainer: arguments as JSON on the command line, one line of JSON as the answer on the last line of stdout."""

import json
import pathlib
import sys
import tempfile
import time

import datasets
import torch
from transformers import AutoModelForCausalLM, PrinterCallback, TrainerCallback
from trl import KTOConfig, KTOTrainer

from inputs import as_text, make_tokenizer, read_rows

# What differs between the peers. `default` keeps every default of TRL but its precision; `tuned` turns every knob that helps.
SETTINGS = {
    "trl-default": dict(bf16=False),
    "trl-default-bf16": dict(bf16=True),  # f32 weights under bf16 autocast: what TRL does when told nothing
    "trl-tuned": dict(bf16=False, gradient_checkpointing=False, precompute_ref_log_probs=True),
    "trl-tuned-bf16": dict(
        bf16=False, gradient_checkpointing=False, precompute_ref_log_probs=True, weights=torch.bfloat16
    ),
}


# What every run has in common: steps of one size, each logged, nothing saved or drawn.
COMMON = dict(
    max_length=None,
    lr_scheduler_type="constant",
    max_grad_norm=1.0,
    logging_steps=1,
    save_strategy="no",
    report_to="none",
    disable_tqdm=True,
)


class Clock(TrainerCallback):
    """The moment each optimiser step ended."""

    def __init__(self):
        self.ends = []

    def on_step_end(self, *_, **__):
        self.ends.append(time.perf_counter())


class TimedReference:
    """What is mixed into a trainer to time the reference's pass."""

    reference_seconds = 0.0

    def _precompute_ref_logps(self, *arguments, **named):
        start = time.perf_counter()
        result = super()._precompute_ref_logps(*arguments, **named)
        self.reference_seconds += time.perf_counter() - start
        return result


class TimedKTO(TimedReference, KTOTrainer):
    pass


def main(job):
    torch.set_num_threads(job["threads"])
    settings = dict(SETTINGS[job["setting"]])
    weights = settings.pop("weights", torch.float32)
    rows = read_rows(pathlib.Path(job["data"]))
    data = datasets.Dataset.from_dict(
        dict(
            prompt=[as_text(row["prompt_ids"]) for row in rows],
            completion=[as_text(row["completion_ids"]) for row in rows],
            label=[row["label"] for row in rows],
        )
    )
    clock = Clock()
    with tempfile.TemporaryDirectory() as scratch:
        arguments = KTOConfig(
            output_dir=scratch,
            per_device_train_batch_size=job["batch"],
            max_steps=job["steps"],
            use_cpu=True,
            learning_rate=job["learning_rate"],
            weight_decay=job["weight_decay"],
            beta=0.1,
            **COMMON,
            **settings,
        )
        model = AutoModelForCausalLM.from_pretrained(job["model"], dtype=weights)
        trainer = TimedKTO(
            model=model, args=arguments, train_dataset=data, processing_class=make_tokenizer(), callbacks=[clock]
        )
        trainer.remove_callback(PrinterCallback)
        for key in ["prompt_ids", "completion_ids"]:
            assert trainer.train_dataset[key][:] == [row[key] for row in rows], f"TRL changed {key}"
        trainer.train()
    logs = [log for log in trainer.state.log_history if "loss" in log]
    seconds = [b - a for a, b in zip(clock.ends, clock.ends[1:])]
    return dict(
        step_seconds=[None] + seconds,  # the first step's start is not seen; it is warm-up in any case
        reference_seconds=trainer.reference_seconds,
        loss=[log["loss"] for log in logs],
        kl=[log["kl"] for log in logs],
    )


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]))))
