"""Runs smoke.py under one of compute-sanitizer's tools.

    python benchmarks/gpu/sanitizer.py memcheck --variants portable

Only planet's kernels are instrumented, and without torch's cache every tensor is an allocation of
its own. That suits memcheck, synccheck and racecheck; initcheck would take what torch's own kernels
have written for memory that nobody wrote, so it is refused. PLANET_SANITIZER names another program.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

SMOKE = Path(__file__).with_name("smoke.py")
FILTERS = ("--kernel-regex", "--kernel-name", "--filter")  # it depends on the version
REFUSALS = ("unrecogni", "unknown", "invalid", "usage", "not valid", "ambiguous")
FOUND = 9  # exit status of a tool that found something
SUMMARY = "ERROR SUMMARY"  # begins a tool's last line; where it is missing, nothing was checked


def kernel_filter(program: str) -> list[str]:
    """The option that looks at planet's kernels alone; empty where none is understood."""
    for option in FILTERS:
        words = [program, option, "kns=planet", "true"]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        answer = (done.stdout + done.stderr).lower()
        if not any(word in answer for word in REFUSALS):
            return [option, "kns=planet"]
    return []


def run(words: list[str], variables: dict[str, str]) -> tuple[int, bool]:
    """Runs a tool and passes on what it prints; its exit status, and whether it summed up."""
    summed_up = False
    with subprocess.Popen(
        words, env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        errors="replace",
    ) as process:  # fmt: skip
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            summed_up |= SUMMARY in line
    return process.returncode, summed_up


def main() -> int:
    """Command line; the exit status is the tool's, or 1 where it checked nothing on a GPU."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tool", choices=("memcheck", "synccheck", "racecheck"))
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--variants", nargs="+", default=[])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--output", type=Path, help="of the smoke test")
    options = parser.parse_args()
    wanted = os.environ.get("PLANET_SANITIZER") or "compute-sanitizer"
    program = shutil.which(wanted)
    if program is None:
        print(f"no {wanted} on PATH; it comes with the CUDA toolkit")
        return 1
    chosen = kernel_filter(program)
    print(f"{options.tool}, kernels: {' '.join(chosen) or 'all'}", flush=True)
    smoke = [sys.executable, str(SMOKE), "--device", options.device, "--repeats", "1"]
    smoke += ["--variants", *options.variants] if options.variants else []
    smoke += ["--quick"] if options.quick else []
    smoke += ["--output", str(options.output)] if options.output else []
    words = [program, "--tool", options.tool, *chosen, "--error-exitcode", str(FOUND), *smoke]
    variables = os.environ | {"PYTORCH_NO_CUDA_MEMORY_CACHING": "1"}
    status, summed_up = run(words, variables)
    verdict = {0: "nothing found", FOUND: "FOUND errors"}.get(status, f"exit status {status}")
    if options.device != "cpu" and not summed_up:
        status, verdict = status or 1, f"CHECKED NOTHING ({program} did not sum up), {verdict}"
    print(f"{options.tool}: {verdict}")
    return status


if __name__ == "__main__":
    sys.exit(main())
