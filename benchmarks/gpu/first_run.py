"""Builds first_run.cu, runs its sections on the GPU, and writes what they say as JSON.

    python benchmarks/gpu/first_run.py                # needs nvcc and a GPU of sm_90 or newer
    python benchmarks/gpu/first_run.py --build-only   # needs nvcc alone

PLANET_FIRST_RUN names a program that was built elsewhere.

Occupancy of clusters, copies between their shared memories, grid barriers, rates of the matrix
units, L2 to multiprocessor, gaps of CUDA graphs: the figures that the planner's designs rest on.
Every section is a process of its own with a time limit, so that a failure costs that section alone,
and its figures are written when it ends.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
from circumstances import circumstances, gpu_state, result_path
from gpu.first_run_program import build
from gpu.runner import write_json

SECONDS = 10.0  # of a section


def own_architecture() -> str:
    """The architecture of the GPU here, or of an H100."""
    if not torch.cuda.is_available():
        return "90a"
    major, minor = torch.cuda.get_device_capability()
    return f"{major}{minor}a"


def run_section(program: Path, section: str, seconds: float = SECONDS) -> dict[str, Any]:
    """Figures of a section, and what ended it before its end."""
    try:
        done = subprocess.run([program, section], capture_output=True, timeout=seconds, check=False)
        output, status = done.stdout, done.returncode
        problem = f"exit status {status}" if status else None
    except subprocess.TimeoutExpired as ended:
        output, problem = ended.stdout or b"", f"did not end within {seconds:.0f} s"
    lines = output.decode(errors="replace").splitlines()
    figures = [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]
    errors = [figure["error"] for figure in figures if "error" in figure]
    result: dict[str, Any] = {"figures": [f for f in figures if "error" not in f]}
    if problem or errors:
        result["error"] = "; ".join(errors) or problem
    return result


def run_sections(program: Path, found: dict[str, Any], output: Path) -> int:
    """Runs all of them, each into `found["sections"]` and the file; returns how many failed."""
    names = subprocess.run([program], capture_output=True, text=True, check=True).stdout.split()
    failed = 0
    for name in names:
        section = run_section(program, name)
        found["sections"][name] = section
        found["state_after"] = gpu_state()
        write_json(output, found)
        for figure in section["figures"]:
            print(name, " ".join(f"{key}={value}" for key, value in figure.items()), flush=True)
        if "error" in section:
            failed += 1
            print(f"{name} FAILED: {section['error']}", flush=True)
    for figure in found["sections"].get("clusters", {}).get("figures", []):
        print(f"clusters of {figure.get('cluster')}: {figure.get('active_clusters')} at a time")
    print(f"{failed} of {len(names)} sections failed")
    return failed


def main() -> int:
    """Command line; exit status 1 when a section failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--architecture", default=own_architecture(), help="as nvcc names it")
    parser.add_argument("--build-only", action="store_true")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--quick", action="store_true", help="changes nothing")
    parser.add_argument("--output", type=Path, help="else a file in benchmarks/results")
    options = parser.parse_args()
    carried = os.environ.get("PLANET_FIRST_RUN")
    with tempfile.TemporaryDirectory(prefix="first_run") as folder:
        if carried and not options.build_only:
            program = Path(carried)
        else:
            program = build(Path(folder), options.architecture, strict=options.build_only)
        if options.build_only:
            listed = subprocess.run([program], capture_output=True, text=True, check=True).stdout
            print(f"built; sections: {', '.join(listed.split())}")
            return 0
        found = {**circumstances(), "state_before": gpu_state(), "sections": {}}
        output = options.output or result_path("gpu_first_run", options.device)
        return int(run_sections(program, found, output) > 0)


if __name__ == "__main__":
    sys.exit(main())
