"""Numbers out of what was run: useful completion tokens per second, ratios, share of the ceiling, memory."""

import materials
import plan
from compare import summary


def evaluate(measurement, outcome, parity, ceiling):
    """→ what is written as JSON and shown."""
    batch, warmup = outcome["batch"], measurement.warmup
    skipped = warmup * measurement.units
    contenders = {}
    for name, runs in outcome["results"].items():
        timed = outcome["rows"]["file" if "default" in name else "sorted"][skipped:]
        tokens = sum(len(ids) for row in timed for ids in plan.completions(row))
        seconds = [sum(run["step_seconds"][warmup:]) for run in runs]
        # Its own pass over all rows, warm-up among them, in proportion.
        share = measurement.steps / (measurement.steps + warmup)
        with_reference = [s + share * run["reference_seconds"] for s, run in zip(seconds, runs)]
        cached = "default" not in name
        flops = plan.ideal_flops(measurement, materials.in_batches(timed, batch), reference=0 if cached else 1)
        rates = [tokens / s for s in seconds]
        contenders[name] = dict(
            tokens_per_second=summary(rates),
            tokens_per_second_with_reference=summary([tokens / s for s in with_reference]),
            share_of_gemm=summary([flops / s / ceiling for s in seconds]) if ceiling else None,
            **{key: most(runs, key) for key in ["allocator_peak", "process_peak", "device_peak"]},
            loss=runs[0]["loss"],
            kl=runs[0]["kl"],
        )
    return dict(
        name=measurement.name, batch=batch, accumulation=measurement.units // batch, warmup=warmup, steps=measurement.steps,
        contenders=contenders, ratios=ratios(contenders), parity=parity, failures=outcome["failures"],
    )  # fmt: skip


def most(runs, key):
    return max((run[key] for run in runs if run.get(key)), default=None)


def ratios(contenders):
    """halo over each peer, the best tuned one first, the defaults last."""
    if "halo" not in contenders:
        return {}

    def rate(name, key="tokens_per_second"):
        return contenders[name][key]["median"]

    peers = sorted((n for n in contenders if n != "halo"), key=lambda n: ("default" in n, -rate(n)))
    with_reference = "tokens_per_second_with_reference"
    return {
        peer: dict(
            tokens_per_second=rate("halo") / rate(peer),
            with_reference=rate("halo", with_reference) / rate(peer, with_reference),
            process_peak=quotient(contenders["halo"], contenders[peer]),
        )
        for peer in peers
    }


def quotient(mine, theirs):
    for key in ["process_peak", "device_peak"]:
        if mine[key] and theirs[key]:
            return mine[key] / theirs[key]
    return None


def show(result):
    print(f"\n{result['name']}: batch {result['batch']} × {result['accumulation']}, {result['steps']} timed steps")
    print(f"{'':14}{'tokens/s':>10}{'p10…p90':>16}{'with reference':>16}{'of GEMM':>9}{'allocator':>11}{'process':>9} GiB")
    for name, row in result["contenders"].items():
        rate = row["tokens_per_second"]
        share = f"{row['share_of_gemm']['median']:.1%}" if row["share_of_gemm"] else "–"
        spread = f"{rate['p10']:.0f}…{rate['p90']:.0f}"
        slow = row["tokens_per_second_with_reference"]["median"]
        print(f"{name:14}{rate['median']:10.0f}{spread:>16}{slow:16.0f}{share:>9}"
              f"{gib(row['allocator_peak']):>11}{gib(row['process_peak'] or row['device_peak']):>9}")  # fmt: skip
    for peer, row in result["ratios"].items():
        memory = f", memory {row['process_peak']:.2f}×" if row["process_peak"] else ""
        print(f"halo over {peer}: {row['tokens_per_second']:.2f}×, with the reference pass {row['with_reference']:.2f}×{memory}")
    for name, gate in result["parity"].items():
        verdict = "same" if gate["passed"] else "NOT THE SAME: the times of this one say nothing"
        print(f"{name} beside trl-tuned: loss to {gate['loss']:.1e}, kl to {gate['kl']:.1e} ({verdict}; {gate['allowed']:.0e} allowed)")
    for name, reason in result["failures"].items():
        print(f"{name} FAILED: {reason.strip().splitlines()[-1]}")


def gib(count):
    return f"{count / 2**30:.2f}" if count else "–"
