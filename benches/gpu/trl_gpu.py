"""One run of TRL's KTOTrainer or DPOTrainer: a job as JSON on the command line, one line of JSON as the answer."""

import json
import pathlib
import sys
import tempfile

import common  # finds benches/peers
import datasets
import torch
from tokenizers import Tokenizer, models
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast, PrinterCallback
from trl import DPOConfig, DPOTrainer, KTOConfig, KTOTrainer

from inputs import read_rows
from trl_worker import COMMON, Clock, TimedReference

# `default` keeps every default of TRL: f32 weights under bf16 autocast, checkpointing, the reference in each step.
# `tuned` turns every knob that helps.
TUNED = dict(bf16=False, gradient_checkpointing=False, precompute_ref_log_probs=True)


def timed(trainer_class, batch):
    """The trainer on token ids as they are, so that nothing is tokenised again; with the time of the reference's pass."""

    class Timed(TimedReference, trainer_class):
        def _prepare_dataset(self, dataset, *_, **__):
            if trainer_class is DPOTrainer:
                return dataset

            def rotated(rows):  # TRL's own pairing, `add_kl_completion_ids`
                ids = rows["completion_ids"]
                return dict(KL_completion_ids=[ids[-1]] + ids[:-1])

            return dataset.map(rotated, batched=True, batch_size=batch)

        def _precompute_ref_logps(self, *arguments, **named):
            result = super()._precompute_ref_logps(*arguments, **named)
            self.ref_model = None  # its weights are not needed any more, as after halo's pass
            return result

    return Timed


def load(job, weights):
    """→ policy, reference. An adapter's reference is the adapter as it starts, which TRL copies itself."""
    if job["tuning"] == "full":
        return tuple(AutoModelForCausalLM.from_pretrained(job[key], dtype=weights) for key in ["model", "reference"])
    from peft import PeftModel

    base = AutoModelForCausalLM.from_pretrained(job["reference"], dtype=weights)
    return PeftModel.from_pretrained(base, job["model"], is_trainable=True), None


def end_tokens():
    """TRL wants a tokenizer for its padding and end tokens; no text passes through it."""
    words = Tokenizer(models.WordLevel({"<pad>": 0, "<bos>": 1, "<eos>": 2}, unk_token="<pad>"))
    return PreTrainedTokenizerFast(tokenizer_object=words, pad_token="<pad>", bos_token="<bos>", eos_token="<eos>")


def main(job):
    cpu = job["device"] == "cpu"
    tuned = job["contender"] == "trl-tuned"
    weights = torch.bfloat16 if tuned and not cpu else torch.float32
    settings = dict(TUNED) if tuned else dict(bf16=not cpu)
    trainer_class, config = (KTOTrainer, KTOConfig) if job["loss"] == "kto" else (DPOTrainer, DPOConfig)
    rows = read_rows(pathlib.Path(job["data"]))
    data = datasets.Dataset.from_dict({key: [row[key] for row in rows] for key in rows[0]})
    policy, reference = load(job, weights)
    clock = Clock()
    with tempfile.TemporaryDirectory() as scratch:
        arguments = config(
            output_dir=scratch,
            per_device_train_batch_size=job["batch"],
            gradient_accumulation_steps=job["accumulation"],
            max_steps=job["steps"],
            use_cpu=cpu,
            learning_rate=job["learning_rate"],
            weight_decay=job["weight_decay"],
            beta=job["beta"],
            train_sampling_strategy="sequential",
            **COMMON,
            **settings,
        )
        trainer = timed(trainer_class, job["batch"])(
            model=policy, ref_model=reference, args=arguments, train_dataset=data,
            processing_class=end_tokens(), callbacks=[clock],
        )  # fmt: skip
        del policy, reference
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    logs = [log for log in trainer.state.log_history if "loss" in log]
    return dict(
        step_seconds=[None] + [b - a for a, b in zip(clock.ends, clock.ends[1:])],  # the first is warm-up in any case
        reference_seconds=trainer.reference_seconds,
        loss=[log["loss"] for log in logs],
        kl=[log.get("kl") for log in logs],
        allocator_peak=None if cpu else torch.cuda.max_memory_allocated(),
    )


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]))))
