"""Runs one contender as a process of its own and watches the memory that it holds on the device."""

import glob
import importlib.util
import os
import pathlib
import subprocess
import threading
import time


def environment(packages, scratch):
    """What every contender runs under. halo opens cuBLAS at run time: the Python packages of CUDA bring it along."""
    torch = importlib.util.find_spec("torch")
    site = pathlib.Path(torch.origin).parent.parent if torch else pathlib.Path("/nonexistent")
    libraries = sorted(glob.glob(str(site / "nvidia" / "*" / "lib")))
    return dict(
        os.environ,
        LD_LIBRARY_PATH=":".join(libraries + [os.environ.get("LD_LIBRARY_PATH", "")]).strip(":"),
        PYTHONPATH=":".join(([str(packages)] if packages else []) + [os.environ.get("PYTHONPATH", "")]).strip(":"),
        HF_HUB_OFFLINE="1",
        TQDM_DISABLE="1",
        HF_DATASETS_CACHE=str(scratch / "cache"),  # a fresh one: TRL would reuse reference log-probabilities
        TORCHINDUCTOR_CACHE_DIR=str(scratch.parent / "compiled"),  # kept: its second run need not compile again
        PYTORCH_CUDA_ALLOC_CONF="expandable_segments:True",  # what a user with ragged batches would set
    )


class Memory(threading.Thread):
    """The process's memory as nvidia-smi sees it, and the whole device's above what was used before."""

    def __init__(self, pid):
        super().__init__(daemon=True)
        self.pid, self.process_peak, self.device_peak, self.ended = pid, 0, 0, threading.Event()
        self.before = device_used()

    def run(self):
        while not self.ended.wait(0.2):
            for line in ask("--query-compute-apps=pid,used_memory"):
                pid, _, used = line.partition(",")
                if pid.strip() == str(self.pid) and used.strip().isdigit():
                    self.process_peak = max(self.process_peak, int(used) * 2**20)
            self.device_peak = max(self.device_peak, device_used() - self.before)

    def peaks(self):
        self.ended.set()
        self.join()
        return dict(process_peak=self.process_peak or None, device_peak=self.device_peak or None)


def ask(query):
    try:
        command = ["nvidia-smi", query, "--format=csv,noheader,nounits"]
        return subprocess.run(command, capture_output=True, text=True, timeout=10).stdout.splitlines()
    except (OSError, subprocess.TimeoutExpired):
        return []


def device_used():
    used = [line.strip() for line in ask("--query-gpu=memory.used")]
    return int(used[0]) * 2**20 if used and used[0].isdigit() else 0


class Failed(Exception):
    """Carries the end of what the process wrote."""

    @property
    def out_of_memory(self):
        return "out of memory" in str(self).lower()


def run(command, log, env, seconds):
    """→ stdout, wall_seconds and peaks. `log`: a path without suffix for stdout and stderr, which stay for the reader."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(f"{log}.out", "w+") as out, open(f"{log}.err", "w+") as err:
        begin = time.perf_counter()
        process = subprocess.Popen(command, stdout=out, stderr=err, env=env)
        memory = Memory(process.pid)
        memory.start()
        try:
            process.wait(timeout=max(1, seconds))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise Failed(f"stopped after {seconds:.0f} s: the time was up") from None
        finally:
            peaks = memory.peaks()
        wall = time.perf_counter() - begin
        out.seek(0), err.seek(0)
        stdout, stderr = out.read(), err.read()
    if process.returncode != 0:
        raise Failed(f"ended with {process.returncode}: {stderr[-3000:]}")
    return dict(stdout=stdout, wall_seconds=wall, **peaks)
