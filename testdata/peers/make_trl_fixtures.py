"""Twenty optimiser steps of TRL's preference trainers on tiny models: every metric of every step and the final weights.

Needs testdata/fixtures/models (make_model_fixtures.py). Writes testdata/fixtures/trl; see README.md for the files.
`--sensitivity` writes nothing, and instead says how far a relative change of 1e-7 in the first weights moves each result.
"""

import argparse
import json
import random
import shutil
import tempfile

import datasets
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, PrinterCallback
from transformers.utils import logging
from trl import DPOConfig, DPOTrainer, KTOConfig, KTOTrainer
from trl.experimental.cpo import CPOConfig, CPOTrainer
from trl.experimental.orpo import ORPOConfig, ORPOTrainer

from common import FIXTURES, SPECIAL, VOCAB, as_text, perturb, to_v4_config, tokenizer

EOS = 2
STEPS = 20
EQUAL = 6  # tokens of every chosen completion in `dpo-equal`
ATTENTION = ["q_proj", "v_proj"]
ALL_LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
REFERENCES = {"llama": (51, 0.03), "qwen2": (52, 0.03)}  # seed and size of the noise on the policy's weights

OPTIMISER = dict(
    learning_rate=1e-3,
    lr_scheduler_type="constant",
    warmup_steps=0,
    optim="adamw_torch",
    weight_decay=0.01,
    adam_beta1=0.9,
    adam_beta2=0.999,
    adam_epsilon=1e-8,
    max_grad_norm=1.0,
    per_device_train_batch_size=4,
    gradient_accumulation_steps=1,
)


def paired(loss, data="dpo", reference="model", **settings):
    """A case on pairs: `loss` in halo's names, `settings` in TRL's."""
    return dict(data=data, model="llama", reference=reference, loss=loss, trl_settings=settings)


def no_reference(trainer, loss, data="dpo", **settings):
    return dict(paired(loss, data, "none", **settings), trainer=trainer)


# reference: "model" is reference-MODEL; "base" the model without adapter; "snapshot" a copy of the starting adapter; "none" that TRL's
# trainer has none. Where `trl_settings` are absent, `loss` is both halo's parameters and TRL's.
CASES = {
    "kto": dict(data="kto", model="llama", reference="model", loss=dict(beta=0.11)),
    "kto-accumulation": dict(
        data="kto-balanced",
        model="qwen2",
        reference="model",
        loss=dict(beta=0.15, desirable_weight=1.3, undesirable_weight=0.8),
        optimiser=dict(gradient_accumulation_steps=2),
    ),
    "kto-lora": dict(data="kto", model="llama", reference="base", loss=dict(beta=0.3), lora=ATTENTION),
    "kto-lora-snapshot": dict(
        data="kto-balanced",
        model="qwen2",
        reference="snapshot",
        loss=dict(beta=0.08, desirable_weight=2.0),
        lora=ALL_LINEAR,
        optimiser=dict(learning_rate=5e-3),
    ),
    "dpo": dict(data="dpo", model="llama", reference="model", loss=dict(beta=0.033)),
    "dpo-accumulation": dict(
        data="dpo", model="qwen2", reference="model", loss=dict(beta=0.06), optimiser=dict(gradient_accumulation_steps=2)
    ),
    "dpo-lora": dict(data="dpo", model="qwen2", reference="base", loss=dict(beta=0.045), lora=ALL_LINEAR),
    "hinge": paired(dict(name="hinge", beta=0.15), loss_type="hinge", beta=0.15),
    "ipo": paired(dict(name="ipo", tau=0.8), loss_type="ipo", beta=0.8),
    "exo": paired(
        dict(name="exo", beta=0.03, label_smoothing=0.02), loss_type="exo_pair", beta=0.03, label_smoothing=0.02
    ),
    "nca": paired(dict(name="nca", beta=0.06), loss_type="nca_pair", beta=0.06),
    "robust-dpo": paired(
        dict(name="robust_dpo", beta=0.025, label_smoothing=0.15), loss_type="robust", beta=0.025, label_smoothing=0.15
    ),
    "sppo": paired(dict(name="sppo", beta=0.4), loss_type="sppo_hard", beta=0.4),
    "apo-zero": paired(dict(name="apo_zero", beta=0.09), loss_type="apo_zero", beta=0.09),
    "apo-down": paired(dict(name="apo_down", beta=0.12), loss_type="apo_down", beta=0.12),
    "discopop": paired(
        dict(name="discopop", beta=0.035, tau=0.07), loss_type="discopop", beta=0.035, discopop_tau=0.07
    ),
    "sigmoid-norm": paired(dict(name="sigmoid_norm", beta=0.5), loss_type="sigmoid_norm", beta=0.5),
    "aot": paired(dict(name="aot", beta=0.045), loss_type="aot", beta=0.045),
    "aot-unpaired": paired(
        dict(name="aot_unpaired", beta=0.045, label_smoothing=0.1),
        loss_type="aot_unpaired",
        beta=0.045,
        label_smoothing=0.1,
    ),
    "bco-pair": paired(dict(name="bco_pair", beta=0.04, reference_point="zero"), loss_type="bco_pair", beta=0.04),
    "dpo-forward-kl": paired(
        dict(name="dpo", beta=0.02, f_divergence="forward_kl"), beta=0.02, f_divergence_type="forward_kl"
    ),
    "dpo-js": paired(dict(name="dpo", beta=0.12, f_divergence="js"), beta=0.12, f_divergence_type="js_divergence"),
    "dpo-alpha": paired(
        dict(name="dpo", beta=0.03, f_divergence="alpha", f_alpha=0.4),
        beta=0.03,
        f_divergence_type="alpha_divergence",
        f_alpha_divergence_coef=0.4,
    ),
    "dpo-ld": paired(dict(name="dpo", beta=0.05, ld_alpha=0.35), beta=0.05, ld_alpha=0.35),
    "dpo-wpo": paired(dict(name="dpo", beta=1.0, wpo="exact"), beta=1.0, use_weighting=True),
    "dpo-sft": paired(
        {"name": "dpo + 0.5*sft", "dpo.beta": 0.1, "sft.average": "token"},
        loss_type=["sigmoid", "sft"],
        loss_weights=[1.0, 0.5],
        beta=0.1,
    ),
    "rpo": paired(
        dict(name="rpo", beta=0.1, nll_weight=0.3),
        "dpo-equal",
        loss_type=["sigmoid", "sft"],
        loss_weights=[1.0, 0.3],
        beta=0.1,
    ),
    "dpo-sync": dict(
        paired(
            dict(name="dpo", beta=0.04),
            beta=0.04,
            sync_ref_model=True,
            ref_model_mixup_alpha=0.6,
            ref_model_sync_steps=2,
        ),
        reference_sync=dict(mix=0.6, every=2),
    ),
    "apo-zero-unpaired": dict(
        data="kto",
        model="llama",
        reference="model",
        loss=dict(name="apo_zero_unpaired", beta=0.13, desirable_weight=1.2, undesirable_weight=0.7),
        trl_settings=dict(
            loss_type="apo_zero_unpaired", beta=0.13, desirable_weight=1.2, undesirable_weight=0.7
        ),
    ),
    "cpo": no_reference(
        "cpo",
        dict(name="cpo", beta=0.05, nll_weight=0.4, label_smoothing=0.1),
        "dpo-equal",
        beta=0.05,
        cpo_alpha=0.4,
        label_smoothing=0.1,
    ),
    "simpo": no_reference(
        "cpo",
        dict(name="simpo", beta=1.2, gamma_beta_ratio=0.4),
        loss_type="simpo",
        beta=1.2,
        simpo_gamma=0.48,
        cpo_alpha=0.0,
    ),
    "alphapo": no_reference(
        "cpo",
        dict(name="alphapo", beta=0.8, alpha=0.25, gamma=0.3),
        loss_type="alphapo",
        beta=0.8,
        alpha=0.25,
        simpo_gamma=0.3,
    ),
    "slic": no_reference(
        "cpo",
        dict(name="slic", margin=1.0, nll_weight=0.05),
        "dpo-equal",
        loss_type="hinge",
        beta=1.0,
        cpo_alpha=0.3,  # EQUAL · 0.05: TRL's term is a mean over tokens, halo's a sum
    ),
    "orpo": no_reference("orpo", dict(name="orpo", odds_weight=0.7), "dpo-equal", beta=0.7),
}


def make_data():
    """name → rows. `kto` has steps of one class; `kto-balanced` two of each class in every four rows.

    In `dpo-equal` prompts are one token and chosen completions equally long, so that all averages of a likelihood term agree.
    """
    generator = random.Random(61)

    def ids(low, high):
        return [generator.randrange(SPECIAL, VOCAB) for _ in range(generator.randint(low, high))]

    def completion(low=1, high=9):
        return ids(low, high) + [EOS]

    def unpaired(labels):
        return [dict(prompt_ids=ids(1, 12), completion_ids=completion(), label=label) for label in labels]

    labels = [generator.random() < 0.4 for _ in range(4 * STEPS)]
    labels[8:16] = [True] * 4 + [False] * 4  # the third step desirable only, the fourth undesirable only
    balanced = [x for _ in range(STEPS) for x in generator.sample([True, True, False, False], 4)]
    pairs = [dict(prompt_ids=ids(1, 12), chosen_ids=completion(), rejected_ids=completion()) for _ in range(4 * STEPS)]
    data = {"kto": unpaired(labels), "kto-balanced": unpaired(balanced), "dpo": pairs}
    chosen = EQUAL - 1
    data["dpo-equal"] = [
        dict(prompt_ids=ids(1, 1), chosen_ids=completion(chosen, chosen), rejected_ids=completion())
        for _ in range(4 * STEPS)
    ]
    return data


def load(folder):
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")


def make_reference(name):
    seed, scale = REFERENCES[name]
    folder = FIXTURES / "trl" / f"reference-{name}"
    perturb(load(FIXTURES / "models" / name), seed, scale).save_pretrained(folder)
    (folder / "generation_config.json").unlink()
    to_v4_config(folder)


def make_adapter(folder, case, seed):
    """A starting adapter whose B is not zero, so that the policy differs from its base."""
    config = LoraConfig(r=4, lora_alpha=8, lora_dropout=0.0, target_modules=case["lora"], task_type="CAUSAL_LM")
    model = get_peft_model(load(FIXTURES / "models" / case["model"]), config)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in sorted(model.named_parameters()):
            if "lora_" in name:
                parameter.copy_((0.2 if "lora_A" in name else 0.1) * torch.randn(parameter.shape, generator=generator))
    model.peft_config["default"].base_model_name_or_path = f"../../../models/{case['model']}"
    model.save_pretrained(folder)
    (folder / "README.md").unlink()
    path = folder / "adapter_config.json"
    settings = json.loads(path.read_text())
    settings["target_modules"].sort()  # a set in PEFT, written in a random order
    path.write_text(json.dumps(settings, indent=2, sort_keys=True) + "\n")


class RecordingKTO(KTOTrainer):
    """Keeps z₀ before the clamp, which TRL does not log: the mean over a micro-batch's mismatched rows, in nats."""

    def _compute_kl_logps(self, model, batch):
        logps = super()._compute_kl_logps(model, batch)
        if logps is None:  # a loss without reference point
            return None
        self.kl_halves = getattr(self, "kl_halves", []) + [logps.detach()]  # policy, reference, policy, …
        return logps

    def raw(self):
        halves = getattr(self, "kl_halves", [])
        policy, reference = halves[0::2], halves[1::2]
        means = [(p - r).mean().item() for p, r in zip(policy, reference)]
        k = self.args.gradient_accumulation_steps
        return [means[i : i + k] for i in range(0, len(means), k)]


TRAINERS = {
    "kto": (KTOConfig, RecordingKTO),
    "dpo": (DPOConfig, DPOTrainer),
    "cpo": (CPOConfig, CPOTrainer),
    "orpo": (ORPOConfig, ORPOTrainer),
}


def trainer_of(case):
    return case.get("trainer", "kto" if case["data"].startswith("kto") else "dpo")


def start(folder, case, jolt):
    """The model as training starts, and the reference to hand to TRL."""
    model_folder = FIXTURES / "models" / case["model"]
    model, reference = load(model_folder), None
    if case["reference"] == "model":
        reference = load(FIXTURES / "trl" / f"reference-{case['model']}")
    if "lora" in case:
        model = PeftModel.from_pretrained(model, folder / "adapter", is_trainable=True)
        # Given a model with an adapter and no reference, TRL copies the adapter as it is and takes that as the
        # reference ("snapshot"). The base without adapter must therefore be given to it explicitly.
        reference = load(model_folder) if case["reference"] == "base" else None
    if jolt:
        generator = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.mul_(1 + jolt * torch.randn(parameter.shape, generator=generator))
    return model, reference


def train(folder, case, rows, jolt=0.0):
    """Runs the trainer; → (metrics per step, final tensors)."""
    model, reference = start(folder, case, jolt)
    kind = trainer_of(case)
    columns = {k.removesuffix("_ids"): [as_text(r[k]) if k != "label" else r[k] for r in rows] for k in rows[0]}
    config, trainer_class = TRAINERS[kind]
    words = tokenizer()
    if kind in ("cpo", "orpo"):
        words.bos_token = None  # these two put it before every prompt
    with tempfile.TemporaryDirectory() as scratch:
        arguments = config(
            output_dir=scratch,
            max_steps=STEPS,
            max_length=None,
            bf16=False,
            use_cpu=True,
            gradient_checkpointing=False,
            train_sampling_strategy="sequential",
            logging_steps=1,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            seed=0,
            **OPTIMISER | case.get("optimiser", {}),
            **case.get("trl_settings", case["loss"]),
        )
        trainer = trainer_class(
            model=model,
            args=arguments,
            train_dataset=datasets.Dataset.from_dict(columns),
            processing_class=words,
            **({} if case["reference"] == "none" else dict(ref_model=reference)),
        )
        trainer.remove_callback(PrinterCallback)
        unchanged(trainer.train_dataset, rows)
        trainer.train()
    metrics = [record(log, case) for log in trainer.state.log_history if "loss" in log]
    if kind == "kto":
        for line, raw in zip(metrics, trainer.raw()):
            line["kl_raw_microbatches"] = raw
    return metrics, final_weights(trainer.model)


def unchanged(seen, rows):
    """TRL tokenised the text back into our ids."""
    for key in (k for k in rows[0] if k != "label"):
        mine = [row[key] for row in rows]
        if key not in seen.column_names and key != "prompt_ids":
            # CPO and ORPO keep whole sequences, and labels from the completion on.
            mine = [row["prompt_ids"] + row[key] for row in rows]
            half = key.removesuffix("_ids")
            labels = [[-100] * len(row["prompt_ids"]) + row[key] for row in rows]
            assert seen[f"{half}_labels"][:] == labels, f"TRL changed the labels of {key}"
        theirs = key if key in seen.column_names else key.replace("_ids", "_input_ids")
        assert seen[theirs][:] == mine, f"TRL changed {key}"


def record(log, case):
    """A step's line. `logps/…` are plain sums over a completion; where TRL logs something else there, the name says it."""
    keys = ["loss", "kl", "rewards/chosen", "rewards/rejected", "rewards/margins", "logps/chosen", "logps/rejected"]
    keys += ["grad_norm", "learning_rate"]
    name, logps = case["loss"].get("name"), "logps"
    if name in ("simpo", "alphapo", "orpo"):
        logps = "logps_per_token"
    elif "ld_alpha" in case["loss"]:
        logps = "logps_weighted"
    if name == "apo_zero_unpaired":
        keys.remove("kl")  # always 0: none is estimated
    return {"step": log["step"]} | {key.replace("logps", logps): log[key] for key in keys if key in log}


def final_weights(model):
    """Trained tensors under the names of the files that `save_pretrained` writes."""
    with tempfile.TemporaryDirectory() as scratch:
        model.save_pretrained(scratch)
        adapter = isinstance(model, PeftModel)
        return load_file(f"{scratch}/{'adapter_model' if adapter else 'model'}.safetensors")


def describe(name, metrics):
    norms = [m["grad_norm"] for m in metrics]
    text = f"{name}: loss {metrics[0]['loss']:.4f} → {metrics[-1]['loss']:.4f}; clipped in {sum(n > 1 for n in norms)} steps"
    if "kl" in metrics[0]:
        text += f"; kl > 0 in {sum(m['kl'] > 0 for m in metrics)}, up to {max(m['kl'] for m in metrics):.2f}"
    margins = [m["rewards/margins"] for m in metrics if "rewards/margins" in m]
    print(f"{text}; margins {margins[0]:.2f} → {margins[-1]:.2f}; gradient norms {min(norms):.2f}…{max(norms):.2f}")


def compare(name, one, other):
    """Largest differences of two runs: metrics absolute, weights relative to the tensor's largest entry and to its norm."""
    (metrics, weights), (metrics2, weights2) = one, other
    numbers = [k for k in metrics[0] if isinstance(metrics[0][k], float)]
    worst = {k: max(abs(a[k] - b[k]) for a, b in zip(metrics, metrics2) if k in a) for k in numbers}
    entry = max(((weights[k] - weights2[k]).abs().max() / weights[k].abs().max()).item() for k in weights)
    norm = max(((weights[k] - weights2[k]).norm() / weights[k].norm()).item() for k in weights)
    print(f"{name}: weights {entry:.1e} (entries) {norm:.1e} (norm);", {k: f"{v:.1e}" for k, v in worst.items()})


def write(name, case, metrics, weights):
    folder = FIXTURES / "trl" / name
    settings = dict(
        case,
        policy=f"../../models/{case['model']}",
        reference_folder=f"../reference-{case['model']}" if case["reference"] == "model" else None,
        loss={"name": trainer_of(case)} | case["loss"],
        optimiser=OPTIMISER | case.get("optimiser", {}),
        steps=STEPS,
        trl="1.16.0",
    )
    (folder / "case.json").write_text(json.dumps(settings, indent=2) + "\n")
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in metrics))
    save_file({k: v.contiguous() for k, v in weights.items()}, folder / "final.safetensors")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sensitivity", action="store_true")
    parser.add_argument("cases", nargs="*", metavar="CASE", help="only these (the files of others stay)")
    options = parser.parse_args()
    logging.disable_progress_bar()
    datasets.disable_progress_bars()
    folder = FIXTURES / "trl"
    data = make_data()
    if not options.sensitivity:
        if not options.cases:
            shutil.rmtree(folder, ignore_errors=True)
        for model in REFERENCES:
            make_reference(model)
        for name, rows in data.items():
            (folder / f"{name}.jsonl").write_text("".join(json.dumps(row, separators=(",", ":")) + "\n" for row in rows))
    for i, (name, case) in enumerate(CASES.items()):
        if options.cases and name not in options.cases:
            continue
        (folder / name).mkdir(exist_ok=True)
        if "lora" in case and not options.sensitivity:
            make_adapter(folder / name / "adapter", case, 70 + i)
        result = train(folder / name, case, data[case["data"]])
        if options.sensitivity:
            compare(name, result, train(folder / name, case, data[case["data"]], jolt=1e-7))
        else:
            write(name, case, *result)
            describe(name, result[0])


if __name__ == "__main__":
    main()
