"""Trains the paper's preset for a few episodes, and says where the seconds go.

    python benchmarks/gpu/train_slice.py --output train.json

`planet train` runs in a process of its own; its metrics are read while it runs, so that the figures
are there when a time limit ends it.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
from circumstances import circumstances, gpu_state
from gpu.runner import write_json

from planet.training.metrics import METRICS_NAME, read_metrics

SEED_EPISODES, EPISODES = 5, 9
UPDATES = 50  # after each of them, half of the paper's
POLL = 1.0  # seconds
TINY = (
    "--preset", "small", "--task", "toy-reach", "--environment.image-size", "8",
    "--environment.render-size", "8", "--environment.control-steps", "6",
    "--model.encoder-channels", "4", "--planner.candidates", "10", "--planner.topk", "3",
    "--train.batch-size", "3", "--train.chunk-length", "4", "--train.initial-updates", "5",
    "--train.seed-episodes", "2", "--train.updates-per-episode", "3", "--train.episodes", "4",
)  # fmt: skip
SHOWN = ("ms_per_planned_step", "ms_per_update", "learn_seconds", "seconds")


def stage_seconds(directory: Path) -> dict[str, Any]:
    """Seconds of collecting and learning, and of a step of each, from the metrics so far."""
    found: dict[str, Any] = {"random_seconds": [], "planned_seconds": [], "steps": []}
    found["seconds_per_update"] = []
    if not (directory / METRICS_NAME).exists():
        return found
    for line in read_metrics(directory):
        if "collect/seconds" in line:
            planned = line["collect/planned"]
            found["planned_seconds" if planned else "random_seconds"] += [line["collect/seconds"]]
            found["steps"].append(line["collect/steps"])
        if "train/seconds_per_update" in line:
            found["seconds_per_update"].append(line["train/seconds_per_update"])
            found["updates"] = int(line["updates"])
    planned, each = found["planned_seconds"], found["seconds_per_update"]
    if planned:
        found["ms_per_planned_step"] = 1e3 * sum(planned) / sum(found["steps"][-len(planned) :])
    if each:
        found["ms_per_update"] = 1e3 * sum(each) / len(each)
        found["learn_seconds"] = found["updates"] * sum(each) / len(each)
    return found


def run(directory: Path, words: list[str], found: dict[str, Any], output: Path | None) -> int:
    """Trains; figures go into `found["slice"]` and the file once a second."""
    command = [sys.executable, "-m", "planet", "train", "--directory", str(directory), *words]
    print(" ".join(command), flush=True)
    began = time.perf_counter()
    process = subprocess.Popen(command)
    status = None
    while status is None:
        try:
            status = process.wait(POLL)
        except subprocess.TimeoutExpired:
            status = None
        found["slice"] = stage_seconds(directory) | {"seconds": time.perf_counter() - began,
                                                     "state": gpu_state()}  # fmt: skip
        if output:
            write_json(output, found)
    return status


def main() -> int:
    """Command line; the exit status is that of `planet train`."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--episodes", type=int, default=EPISODES)
    parser.add_argument("--precision", default="fp16", help="of the planner on a GPU")
    parser.add_argument("--quick", action="store_true", help="a tiny run")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    words = list(TINY)
    if not options.quick:
        words = ["--preset", "paper", "--task", "cheetah-run",
                 "--train.seed-episodes", str(SEED_EPISODES),
                 "--train.episodes", str(options.episodes), "--train.initial-updates",
                 str(UPDATES), "--train.updates-per-episode", str(UPDATES)]  # fmt: skip
    if options.device != "cpu":
        words = [*words, "--imagination.precision", options.precision]
    words = [*words, "--train.device", options.device, "--train.evaluation-interval", "0",
             "--train.checkpoint-interval", "25"]  # fmt: skip
    os.environ.setdefault("MUJOCO_GL", "egl")
    found = circumstances()
    with tempfile.TemporaryDirectory(prefix="train_slice") as folder:
        status = run(Path(folder) / "run", words, found, options.output)
    figures = found["slice"]
    nothing = float("nan")
    shown = [f"{figures.get(name, nothing):.1f} {name.replace('_', ' ')}" for name in SHOWN]
    print(f"{len(figures['steps'])} episodes, {', '.join(shown)}")
    return status


if __name__ == "__main__":
    sys.exit(main())
