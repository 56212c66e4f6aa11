"""halo against its peers on one GPU, in one command and a fixed time; see README.md."""

import argparse
import json
import os
import pathlib
import shlex
import subprocess
import sys
import time

import common  # finds benches/peers

import contest
import materials
import plan
import process
import report

ROOT = common.HERE.parent.parent


def parse():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--halo", type=pathlib.Path, default=ROOT / "target" / "release" / "halo", help="the binary")
    parser.add_argument("--wheels", type=pathlib.Path, help="folder of wheels to install beside Python's own packages")
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "target" / "gpu", help="models, data, logs, report.json")
    parser.add_argument("--only", action="append", help="measurements whose name contains this word; may be repeated")
    parser.add_argument("--contenders", default=",".join(plan.CONTENDERS), help="in the order in which they run")
    parser.add_argument("--minutes", type=float, default=8.7, help="all must be over by then")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--tiny", action="store_true", help="tiny models: the parity gates, not the times, are the result")
    parser.add_argument("--dry-run", action="store_true", help="print the plan and the commands")
    options = parser.parse_args()
    options.contenders = options.contenders.split(",")
    options.packages = None
    for name in ["halo", "out"]:
        setattr(options, name, getattr(options, name).resolve())
    if options.device == "cpu" and not options.tiny:
        parser.error("--device cpu needs --tiny: the models of the plan are for a GPU")
    if "halo" in options.contenders and not options.halo.exists() and not options.dry_run:
        parser.error(f"--halo {options.halo} is not there: build it with `cargo build --release --features cuda`")
    return options


def install(options):
    """The wheels lie in a folder of their own; Python's packages stay as they are."""
    options.packages = options.out / "packages"
    wheels = sorted(map(str, options.wheels.glob("*.whl")))
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--upgrade"]
    subprocess.run([*pip, "--target", str(options.packages), *wheels], check=True)
    sys.path.insert(0, str(options.packages))


def dry_run(options):
    print(f"{options.halo} selftest --device cuda:0")
    for measurement in plan.chosen(options.tiny, options.only):
        batch = measurement.units if options.tiny else materials.fitting_batch(measurement, 80e9)
        print(f"\n{measurement.name}: at least {measurement.seconds} s; batch {batch} if the device has 80 GB")
        for i, contender in enumerate(options.contenders):
            folder, models = options.out / measurement.name, options.out / "models" / measurement.model
            job = contest.job_of(measurement, contender, folder, models, batch, options)
            print(" ", shlex.join(contest.command_of(job, folder / "out" / f"{i}-{contender}")))


def selftest(options, env):
    command = [str(options.halo), "selftest", "--device", "cuda:0"]
    try:
        ended = subprocess.run(command, capture_output=True, text=True, timeout=120, env=env)
        code, text = ended.returncode, ended.stdout + ended.stderr
    except (OSError, subprocess.TimeoutExpired) as error:
        code, text = -1, str(error)
    print(text)
    print("selftest passed" if code == 0 else f"SELFTEST FAILED ({code}): nothing below may be published")
    return dict(code=code, table=text)


def main():
    options = parse()
    if options.dry_run:
        return dry_run(options)
    end = time.monotonic() + 60 * options.minutes
    options.out.mkdir(parents=True, exist_ok=True)
    if options.wheels:
        install(options)
    document = dict(device="cpu", dtype="f32", measurements=[], not_measured=[])
    gemm, memory = None, 0
    if options.device == "cuda":
        env = process.environment(options.packages, options.out / "run")
        ceilings = process.run([sys.executable, str(common.HERE / "ceilings.py")], options.out / "ceilings", env, 60)
        ceilings = json.loads(ceilings["stdout"])
        gemm, memory = ceilings["gemm_flops"], ceilings["memory"]
        print(f"{ceilings['name']}: bf16 product {gemm / 1e12:.0f} TFLOP/s, copy {ceilings['copy_bytes'] / 1e12:.2f} TB/s")
        document |= dict(device=ceilings["name"], dtype="bf16", ceilings=ceilings)
        if any(name.startswith("halo") for name in options.contenders):
            document["selftest"] = selftest(options, env)
    for measurement in plan.chosen(options.tiny, options.only):
        left = end - time.monotonic()
        if not options.tiny and left < measurement.seconds:
            document["not_measured"].append(measurement.name)
            continue
        measure(measurement, options, end, gemm, memory, document)
        # After each, so that a run that is cut off keeps what it has.
        (options.out / "report.json").write_text(json.dumps(document, indent=2) + "\n")
    for name in document["not_measured"]:
        print(f"not measured: {name}")
    gates = [gate["passed"] for result in document["measurements"] for gate in result["parity"].values()]
    failed = any(result["failures"] for result in document["measurements"])
    return 0 if all(gates) and not failed and document.get("selftest", {}).get("code", 0) == 0 else 1


def measure(measurement, options, end, gemm, memory, document):
    import torch

    dtype = torch.float32 if options.device == "cpu" else torch.bfloat16
    models = options.out / "models" / measurement.model
    models.mkdir(parents=True, exist_ok=True)
    # In a process of its own: a CUDA context here would count as memory in use for all contenders.
    if not (models / "done").exists():
        call = (
            "import sys, pathlib; sys.path.insert(0, sys.argv[1]); import common, materials, torch; "
            "materials.make_models(pathlib.Path(sys.argv[2]), sys.argv[3], sys.argv[4], getattr(torch, sys.argv[5]))"
        )
        arguments = [str(common.HERE), str(models), measurement.model, options.device, str(dtype).removeprefix("torch.")]
        env = process.environment(options.packages, options.out / "run")
        subprocess.run([sys.executable, "-c", call, *arguments], check=True, env=env)
    batch = measurement.units // 2 if options.tiny else materials.fitting_batch(measurement, memory)
    folder = options.out / measurement.name
    outcome = contest.run(measurement, folder, models, batch, options, lambda: end - time.monotonic())
    gates = contest.parity(outcome, "f32" if options.device == "cpu" else "bf16")
    result = report.evaluate(measurement, outcome, gates, gemm)
    document["measurements"].append(result)
    report.show(result)


if __name__ == "__main__":
    sys.exit(main())
