"""Builds first_run.cu, runs its sections on the GPU, and writes what they say as JSON.

    python benchmarks/gpu/first_run.py                # needs nvcc and a GPU of sm_90 or newer
    python benchmarks/gpu/first_run.py --build-only   # needs nvcc alone

Occupancy of clusters, copies between their shared memories, grid barriers, rates of the matrix
units, L2 to multiprocessor, gaps of CUDA graphs: the figures that the planner's designs rest on.
Every section is a process of its own with a time limit, so that a failure costs that section alone.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
from gpu.device_timing import gpu_state

SOURCE = Path(__file__).with_suffix(".cu")
RESULT = Path(__file__).parents[1] / "results" / "gpu_first_run.json"
SECONDS = 40.0  # of a section


def build(folder: Path, architecture: str) -> Path:
    """Compiles the program.

    Args:
      folder: for the program.
      architecture: such as "90a".

    Raises:
      SystemExit: there is no nvcc, or it fails.
    """
    if shutil.which("nvcc") is None:
        raise SystemExit("first_run: no nvcc on PATH; install the CUDA toolkit")
    out = folder / "first_run"
    target = f"-gencode=arch=compute_{architecture},code=sm_{architecture}"
    done = subprocess.run(
        ["nvcc", "-std=c++17", "-O3", target, "--Werror=all-warnings", str(SOURCE), "-o", str(out)],
        capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(f"first_run: nvcc failed\n{done.stdout}{done.stderr}")
    return out


def run_section(program: Path, section: str, seconds: float = SECONDS) -> dict[str, Any]:
    """Figures of a section, or why there are none."""
    try:
        done = subprocess.run(
            [program, section], capture_output=True, text=True, timeout=seconds, check=False
        )
    except subprocess.TimeoutExpired:
        return {"figures": [], "error": f"did not end within {seconds:.0f} s"}
    figures = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    errors = [figure["error"] for figure in figures if "error" in figure]
    result: dict[str, Any] = {"figures": [f for f in figures if "error" not in f]}
    if done.returncode or errors:
        result["error"] = "; ".join(errors) or f"exit status {done.returncode}"
    return result


def main() -> int:
    """Command line; exit status 1 when a section failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--architecture", default="90a", help="of the GPU, as nvcc names it")
    parser.add_argument("--build-only", action="store_true")
    parser.add_argument("--output", type=Path, default=RESULT)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="first_run") as folder:
        program = build(Path(folder), options.architecture)
        names = subprocess.run([program], capture_output=True, text=True, check=True).stdout.split()
        if options.build_only:
            print(f"built; sections: {', '.join(names)}")
            return 0
        results: dict[str, Any] = {
            "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "command": " ".join(sys.argv),
            "state_before": gpu_state(),
        }
        results["sections"] = {name: run_section(program, name) for name in names}
        results["state_after"] = gpu_state()
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(results, indent=1) + "\n")
    failed = 0
    for name, section in results["sections"].items():
        for figure in section["figures"]:
            print(name, " ".join(f"{key}={value}" for key, value in figure.items()))
        if "error" in section:
            failed += 1
            print(f"{name} FAILED: {section['error']}")
    print(f"written to {options.output}")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
