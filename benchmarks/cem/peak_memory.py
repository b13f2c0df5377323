"""Extra peak memory of one plan: largest resident size during it minus the size just before.

A process of its own per variant, whose first plan, at full size, is not counted: it loads code,
starts threads, packs or compiles weights and lets the libraries take the buffers that they keep.
Then freed memory goes back to the system (`malloc_trim`), the kernel's high-water mark is reset,
and the second plan is measured. So what is counted is what a plan needs anew each time; what stays
resident between plans is in neither figure, for every variant alike.

    python benchmarks/cem/peak_memory.py fp32 --threads 2
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
from cem.cases import Problem, Size, UnavailableError


def status(field: str) -> int:
    """Bytes of a line of /proc/self/status, such as VmRSS or VmHWM."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) << 10
    raise ValueError(f"field: expected a line of /proc/self/status, got {field!r}")


def measure(variant: str, size: Size) -> dict[str, Any]:
    """Plans twice in this process."""
    try:
        plan = Problem(size).variant(variant).plan
    except UnavailableError as error:
        return {"missing": str(error)}
    plan()
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # resets VmHWM
    before = status("VmRSS")
    plan()
    return {"extra_mb": (status("VmHWM") - before) / 1e6, "resident_before_mb": before / 1e6}


def in_own_process(variant: str, threads: int, size: Size) -> dict[str, Any]:
    """Measures in a fresh process; only the number of candidates, problems, and iterations vary."""
    command = [sys.executable, __file__, variant, "--threads", str(threads)]
    command += ["--candidates", str(size.candidates), "--batch", str(size.batch)]
    command += ["--iterations", str(size.iterations)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        return {"missing": (done.stderr.strip().splitlines() or ["no message"])[-1]}
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("variant")
    parser.add_argument("--threads", type=int, default=2)
    paper = Size.of_preset("paper")
    parser.add_argument("--candidates", type=int, default=paper.candidates)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--iterations", type=int, default=paper.iterations)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    size = paper.with_candidates(options.candidates)
    size = replace(size, batch=options.batch, iterations=options.iterations)
    print(json.dumps(measure(options.variant, size)))


if __name__ == "__main__":
    main()
