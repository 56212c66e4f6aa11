"""What the device can do at most: bf16 matrix product and copy. One line of JSON as the answer."""

import json

import torch


def best(work, repeats=20):
    """Seconds of the fastest of `repeats`, by the device's own clock."""
    times = []
    for _ in range(repeats + 3):
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        work()
        end.record()
        torch.cuda.synchronize()
        times.append(start.elapsed_time(end) / 1e3)
    return min(times[3:])


def main():
    n = 8192
    a, b = (torch.randn(n, n, device="cuda", dtype=torch.bfloat16) for _ in range(2))  # zeros would run faster
    out = torch.empty_like(a)
    product = 2 * n**3 / best(lambda: torch.mm(a, b, out=out))
    source = torch.empty(2**31, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    copy = 2 * source.numel() / best(lambda: target.copy_(source))  # read and written
    properties = torch.cuda.get_device_properties(0)
    return dict(
        name=properties.name, memory=properties.total_memory, gemm_flops=product, copy_bytes=copy, torch=torch.__version__
    )


if __name__ == "__main__":
    print(json.dumps(main()))
