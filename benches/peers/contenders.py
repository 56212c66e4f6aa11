"""Runs one contender as a process of its own; → seconds per step, seconds for the reference, losses and peak memory."""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent


def run(name, job):
    """`job`: halo (the binary), model, data, batch, steps, threads, learning_rate, weight_decay."""
    with tempfile.TemporaryDirectory() as scratch:
        scratch = pathlib.Path(scratch)
        if name.startswith("halo"):
            output = scratch / "out"
            command = halo_command(name, job, output)
        else:
            command = [sys.executable, str(HERE / "trl_worker.py"), json.dumps(dict(job, setting=name))]
        result = measured(command, scratch, job["threads"])
        if name.startswith("halo"):
            result |= halo_result(output, result["wall_seconds"])
        else:
            result |= json.loads(result["stdout"].splitlines()[-1])
    del result["stdout"]
    return result


def halo_command(name, job, output):
    """`halo` computes the reference's log-probabilities before training, as the tuned peer does; `halo-default` in each step.

    What `benches/gpu` adds to a job: loss, device, dtype, accumulation, reference (a folder), lora (a rank).
    """
    command = [
        job["halo"], "train", "--model", job["model"], "--data", job["data"], "--loss", job.get("loss", "kto"),
        "--set", "beta=0.1", "--batch-size", str(job["batch"]), "--steps", str(job["steps"]),
        "--grad-accum", str(job.get("accumulation", 1)),
        "--lr", str(job["learning_rate"]), "--schedule", "constant", "--warmup", "0",
        "--weight-decay", str(job["weight_decay"]), "--max-grad-norm", "1.0", "--max-length", "1000000",
        "--order", "file", "--mismatch", "trl",
        "--dtype", job.get("dtype", "f32"), "--device", job.get("device", "cpu"),
        "--seed", "0", "--save-every", "1000000", "--out", str(output), "--quiet",
    ]  # fmt: skip
    if "reference" in job:
        command += ["--reference", job["reference"]]
    if "lora" in job:
        command += ["--lora", str(job["lora"])]
    return command + (["--precompute-ref-log-probs"] if name == "halo" else [])


def halo_result(output, wall_seconds):
    """All that happens outside the steps is put on the reference's account: loading and saving the model, too."""
    lines = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
    seconds = [line["step_seconds"] for line in lines]
    return dict(
        step_seconds=seconds,
        reference_seconds=wall_seconds - sum(seconds),
        loss=[line["loss"] for line in lines],
        kl=[line.get("kl") for line in lines],
    )


def measured(command, scratch, threads):
    """Peak resident memory comes from the kernel's account of the ended process (`ru_maxrss`, KiB on Linux)."""
    count = str(threads)
    environment = dict(
        os.environ,
        OMP_NUM_THREADS=count,
        MKL_NUM_THREADS=count,
        RAYON_NUM_THREADS=count,
        HF_DATASETS_CACHE=str(scratch / "cache"),  # a fresh one: TRL would reuse reference log-probabilities
        HF_HUB_OFFLINE="1",
        TQDM_DISABLE="1",
    )
    with open(scratch / "stdout", "w+") as out, open(scratch / "stderr", "w+") as err:
        begin = time.perf_counter()
        process = subprocess.Popen(command, stdout=out, stderr=err, env=environment)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - begin
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0), err.seek(0)
        if process.returncode != 0:
            raise SystemExit(f"{' '.join(command)}\nended with {process.returncode}:\n{err.read()[-3000:]}")
        return dict(
            stdout=out.read(),
            wall_seconds=wall,
            cpu_seconds=usage.ru_utime + usage.ru_stime,
            peak_bytes=usage.ru_maxrss * 1024,
        )
