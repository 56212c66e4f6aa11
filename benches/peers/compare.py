"""halo against TRL's KTOTrainer: useful completion tokens per second and peak memory, in one interleaved session."""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys

import contenders
import inputs

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
LEARNING_RATE = 1e-4
WEIGHT_DECAY = 0.01
CEILING = """
import time, torch
torch.set_num_threads({threads})
a, b = torch.randn(1024, 2048), torch.randn(2048, 2048)
best = 1e9
for _ in range(20):
    t = time.perf_counter(); a @ b; best = min(best, time.perf_counter() - t)
print(2 * 1024 * 2048 * 2048 / best / 1e9)
"""


def prepare(folder, shape, warmup, steps):
    """Model and data files. Warm-up stands first in both orders, so that every contender is timed on the same rows."""
    folder.mkdir(parents=True, exist_ok=True)
    model = folder / "model"
    if not (model / "model.safetensors").exists():
        print(f"model: {inputs.make_model(model):,} parameters", file=sys.stderr)
    batch = inputs.SHAPES[shape][2]
    rows = inputs.make_rows(shape, steps, seed=0)
    head = inputs.warmup_rows(rows, warmup * batch, seed=0)
    stem = shape.replace("/", "-")
    files = {"file": folder / f"{stem}.jsonl", "sorted": folder / f"{stem}-sorted.jsonl"}
    inputs.write_rows(files["file"], head + rows)
    inputs.write_rows(files["sorted"], head + inputs.by_length(rows))
    return model, files, rows


def summary(values):
    """Median, 10th and 90th percentile."""
    if len(values) == 1:
        return dict(median=values[0], p10=values[0], p90=values[0])
    tenths = statistics.quantiles(values, n=10, method="inclusive")
    return dict(median=statistics.median(values), p10=tenths[0], p90=tenths[-1])


def throughput(result, tokens, warmup, with_reference, share):
    """Useful completion tokens per second: labelled completions only; no prompts, no mismatched ones, no padding.

    The reference pass covers warm-up rows too; `share` of it belongs to the timed rows.
    """
    seconds = sum(result["step_seconds"][warmup:])
    if with_reference:
        seconds += share * result["reference_seconds"]
    return tokens / seconds


def compare(shape, options):
    model, files, timed_rows = prepare(options.folder, shape, options.warmup, options.steps)
    batch = inputs.SHAPES[shape][2]
    tokens = sum(len(row["completion_ids"]) for row in timed_rows)
    job = dict(
        halo=str(options.halo),
        model=str(model),
        batch=batch,
        steps=options.warmup + options.steps,
        threads=options.threads,
        learning_rate=LEARNING_RATE,
        weight_decay=WEIGHT_DECAY,
    )
    results = {name: [] for name in options.contenders}
    for repeat in range(options.repeats):
        # A B B A: a drift of the machine's speed falls on all alike.
        for name in options.contenders + options.contenders[::-1]:
            order = "file" if "default" in name else "sorted"
            result = contenders.run(name, dict(job, data=str(files[order])))
            result["order"] = order
            results[name].append(result)
            rate = throughput(result, tokens, options.warmup, False, 0)
            print(f"{shape} {name}: {rate:.1f} tokens/s, {result['peak_bytes'] / 2**30:.2f} GiB", file=sys.stderr)
    return report(shape, results, tokens, options)


def report(shape, results, tokens, options):
    share = options.steps / (options.warmup + options.steps)
    rates = {
        kind: {
            name: [throughput(r, tokens, options.warmup, kind == "with_reference", share) for r in runs]
            for name, runs in results.items()
        }
        for kind in ["training", "with_reference"]
    }
    peaks = {name: [r["peak_bytes"] for r in runs] for name, runs in results.items()}
    mine = options.contenders[0]
    ratios = {
        peer: dict(
            tokens_per_second=summary([a / b for a, b in zip(rates["training"][mine], rates["training"][peer])]),
            tokens_per_second_with_reference=summary(
                [a / b for a, b in zip(rates["with_reference"][mine], rates["with_reference"][peer])]
            ),
            peak_memory=summary([a / b for a, b in zip(peaks[mine], peaks[peer])]),
            **parity(results[mine][0], results[peer][0]),
        )
        for peer in options.contenders[1:]
    }
    return dict(
        shape=shape,
        batch=inputs.SHAPES[shape][2],
        completion_tokens=tokens,
        warmup_steps=options.warmup,
        timed_steps=options.steps,
        contenders={
            name: dict(
                tokens_per_second=summary(rates["training"][name]),
                tokens_per_second_with_reference=summary(rates["with_reference"][name]),
                peak_bytes=summary(peaks[name]),
                reference_seconds=summary([r["reference_seconds"] for r in runs]),
                wall_seconds=summary([r["wall_seconds"] for r in runs]),
                cpu_seconds=summary([r["cpu_seconds"] for r in runs]),
            )
            for name, runs in results.items()
        },
        ratios=ratios,
    )


def parity(mine, theirs):
    """The largest differences of loss and kl over the steps, where both saw the same rows in the same order."""
    if mine["order"] != theirs["order"]:
        return {}
    return {key: max(abs(a - b) for a, b in zip(mine[key], theirs[key])) for key in ["loss", "kl"]}


def show(result):
    print(f"\n{result['shape']}, batch {result['batch']}, {result['timed_steps']} timed steps, "
          f"{result['completion_tokens']} completion tokens")  # fmt: skip
    print(f"{'':18}{'tokens/s':>10}{'p10…p90':>16}{'with reference':>16}{'peak GiB':>10}{'CPU s':>8}")
    for name, row in result["contenders"].items():
        rate, slow = row["tokens_per_second"], row["tokens_per_second_with_reference"]
        spread = f"{rate['p10']:.1f}…{rate['p90']:.1f}"
        print(f"{name:18}{rate['median']:10.1f}{spread:>16}{slow['median']:16.1f}"
              f"{row['peak_bytes']['median'] / 2**30:10.2f}{row['cpu_seconds']['median']:8.0f}")  # fmt: skip
    for peer, row in result["ratios"].items():
        rate, slow, memory = row["tokens_per_second"], row["tokens_per_second_with_reference"], row["peak_memory"]
        same = f"; same loss to {row['loss']:.1e}, kl to {row['kl']:.1e}" if "loss" in row else ""
        print(f"over {peer}: {rate['median']:.2f}× ({rate['p10']:.2f}…{rate['p90']:.2f}), with the reference pass "
              f"{slow['median']:.2f}×, memory {memory['median']:.2f}×{same}")  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", action="append", choices=inputs.SHAPES, help="default: all")
    parser.add_argument("--contenders", default="halo,trl-tuned,trl-default",
                        help="in README.md's table; the ratios are those of the first")  # fmt: skip
    parser.add_argument("--warmup", type=int, default=3, help="steps before the clock starts")
    parser.add_argument("--steps", type=int, default=16, help="timed steps")
    parser.add_argument("--repeats", type=int, default=1, help="each runs every contender twice, there and back")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--halo", type=pathlib.Path, default=ROOT / "target" / "release" / "halo", help="the binary")
    parser.add_argument("--folder", type=pathlib.Path, default=ROOT / "target" / "peers", help="for model and data")
    parser.add_argument("--json", type=pathlib.Path, help="also write all numbers here")
    options = parser.parse_args()
    options.contenders = options.contenders.split(",")
    if not options.halo.exists() and any(name.startswith("halo") for name in options.contenders):
        parser.error(f"{options.halo} is not there: build it with `cargo build --release`, or name it with --halo")
    ceiling = subprocess.run(
        [sys.executable, "-c", CEILING.format(threads=options.threads)], capture_output=True, text=True, check=True
    )
    print(f"f32 matrix product of torch: {float(ceiling.stdout):.0f} GFLOP/s on {options.threads} threads")
    results = []
    for shape in options.shape or inputs.SHAPES:
        results.append(compare(shape, options))
        show(results[-1])
    if options.json:
        document = dict(threads=options.threads, torch_f32_gflops=float(ceiling.stdout), shapes=results)
        options.json.write_text(json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    main()
