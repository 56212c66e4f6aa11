"""One measurement: every contender on the same model and rows, there and back, and whether they computed the same."""

import json
import pathlib
import shutil
import sys

import materials
import plan
import process
from contenders import halo_command, halo_result

HERE = pathlib.Path(__file__).resolve().parent
# Where halo's metrics.jsonl holds the high-water mark of its device memory, in bytes; absent on the CPU.
HALO_PEAK = ["device_memory_peak", "memory/peak", "memory_peak"]
GATE = {"f32": 1e-4, "bf16": 1e-2}  # largest difference of loss, and of z₀ relative to max(1, z₀), over the first steps
GATED_STEPS = 3


def job_of(measurement, contender, folder, models, batch, options):
    full = measurement.tuning == "full"
    job = dict(
        contender=contender,
        halo=str(options.halo),
        loss=measurement.loss,
        tuning=measurement.tuning,
        model=str(models / ("policy" if full else "adapter")),
        reference=str(models / "reference"),
        data=str(folder / ("file.jsonl" if "default" in contender else "sorted.jsonl")),
        batch=batch,
        accumulation=measurement.units // batch,
        steps=measurement.warmup + measurement.steps,
        learning_rate=plan.LEARNING_RATE,
        weight_decay=plan.WEIGHT_DECAY,
        beta=plan.BETA,
        device="cpu" if options.device == "cpu" else "cuda",
    )
    return job


def command_of(job, output):
    if job["contender"].startswith("halo"):
        gpu = job["device"] != "cpu"
        job = dict(job, device="cuda:0" if gpu else "cpu", dtype="bf16" if gpu else "f32")
        if job["tuning"] == "lora":
            job["lora"] = plan.LORA_RANK
            del job["reference"]  # the adapter as it starts, over the same base weights
        return halo_command(job["contender"], job, output)
    worker = "packed_torch.py" if job["contender"] == "packed-torch" else "trl_gpu.py"
    return [sys.executable, str(HERE / worker), json.dumps(job)]


def run_one(job, folder, name, options, seconds):
    output = folder / "out" / name
    shutil.rmtree(output, ignore_errors=True)
    shutil.rmtree(folder / "cache", ignore_errors=True)
    env = process.environment(options.packages, folder)
    result = process.run(command_of(job, output), folder / "logs" / name, env, seconds)
    stdout = result.pop("stdout")
    if job["contender"].startswith("halo"):
        result |= halo_result(output, result["wall_seconds"])
        lines = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
        result["allocator_peak"] = max((line[k] for line in lines for k in HALO_PEAK if line.get(k)), default=None)
        shutil.rmtree(output, ignore_errors=True)
    else:
        result |= json.loads(stdout.splitlines()[-1])
    return result


def run(measurement, folder, models, batch, options, left):
    """→ {contender: [results]}, batch, rows, failures. `left()`: seconds until the end of all."""
    while True:
        rows = materials.make_files(folder, measurement, batch)
        results, failures = {}, {}
        for i, contender in enumerate(options.contenders):
            if left() < 15:
                failures.setdefault(contender, "not run: the time was up")
                continue
            if contender in failures:
                continue
            job = job_of(measurement, contender, folder, models, batch, options)
            try:
                result = run_one(job, folder, f"{i}-{contender}", options, left())
            except process.Failed as error:
                failures[contender] = str(error)
                if error.out_of_memory and batch > 4:
                    break
                continue
            results.setdefault(contender, []).append(result)
            print(f"{measurement.name} {contender}: {result['wall_seconds']:.0f} s", file=sys.stderr)
        if any("out of memory" in text.lower() for text in failures.values()) and batch > 4 and left() > 60:
            batch //= 2  # for all: the batch is KTO's group for z₀
            print(f"{measurement.name}: out of memory, again with batch {batch}", file=sys.stderr)
            continue
        return dict(results=results, batch=batch, rows=rows, failures=failures)


def parity(outcome, dtype):
    """Differences of the first steps from the tuned peer, for those that saw the same rows in the same order."""
    theirs = outcome["results"].get("trl-tuned")
    gates = {}
    for contender, runs in outcome["results"].items():
        if not theirs or contender == "trl-tuned" or "default" in contender:
            continue
        pairs = list(zip(runs[0]["loss"], theirs[0]["loss"]))[:GATED_STEPS]
        kls = [(a, b) for a, b in zip(runs[0]["kl"], theirs[0]["kl"]) if b is not None][:GATED_STEPS]
        loss = max(abs(a - b) for a, b in pairs)
        kl = max((abs(a - b) / max(1.0, abs(b)) for a, b in kls), default=0.0)
        gates[contender] = dict(loss=loss, kl=kl, allowed=GATE[dtype], passed=max(loss, kl) <= GATE[dtype])
    return gates
