"""Does int8 cost anything in the end? Episode returns of trained agents, fp32 against int8.

    python benchmarks/int8/returns.py RUN_DIR...

Plays the same evaluation episodes (same starts, same random numbers) with either precision, and
writes means, standard errors and the paired difference to `benchmarks/results/int8_returns.json`.
Rows of runs that were measured before stay.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import torch

from planet import build_info
from planet.diagnostics.machine import machine_facts
from planet.experiments.run import open_environment, open_run
from planet.training.score import Score, play, score

RESULTS = Path(__file__).parents[1] / "results" / "int8_returns.json"
PRECISIONS = ("fp32", "int8")
DEFAULT_SEED = 1000  # no run's own


def measure(directory: Path, episodes: int, seed: int, backend: str | None) -> dict[str, Any]:
    """Plays the episodes of one run with both precisions."""
    scores: dict[str, Score] = {}
    seconds: dict[str, float] = {}
    for precision in PRECISIONS:
        chosen = {"precision": precision} | ({"backend": backend} if backend else {})
        run = open_run(directory, {"imagination": chosen})
        environment = open_environment(run)
        began = time.perf_counter()
        try:
            played = play(environment, run.agent, episodes, seed, name=precision)
        finally:
            environment.close()
        seconds[precision] = round(time.perf_counter() - began, 1)
        row = scores[precision] = score(precision, played)
        took = f"{row.mean:.1f} +- {row.standard_error:.1f}, {seconds[precision]} s"
        print(f"{directory.name}, {precision}: {took}", flush=True)
    pairs = zip(*(row.returns for row in scores.values()), strict=True)
    difference = Score("int8 - fp32", tuple(b - a for a, b in pairs))
    return {
        "task": run.config.environment.task,
        "training_seed": run.config.train.seed,
        "updates": run.updates,
        "model": run.config.to_dict()["model"],
        "planner": run.config.to_dict()["planner"],
        "evaluation_seed": seed,
        "episodes": episodes,
        **{
            precision: {
                "mean": row.mean,
                "standard_error": row.standard_error,
                "returns": [round(value, 2) for value in row.returns],
                "seconds": seconds[precision],
            }
            for precision, row in scores.items()
        },
        "int8 - fp32": {"mean": difference.mean, "standard_error": difference.standard_error},
        "machine": machine_facts(),
        "build": build_info(),
    }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN_DIR")
    parser.add_argument("--episodes", type=int, default=20)
    parser.add_argument("--seed", type=int, default=DEFAULT_SEED)
    parser.add_argument("--backend", choices=["fused", "reference"], help="default: the run's")
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    for directory in options.runs:
        row = measure(directory, options.episodes, options.seed, options.backend)
        rows = json.loads(options.output.read_text()) if options.output.exists() else {}
        rows[directory.resolve().name] = row
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text(json.dumps(rows, indent=1) + "\n")
        change = row["int8 - fp32"]
        print(f"{directory.name}: {change['mean']:+.1f} +- {change['standard_error']:.1f}")
    print(f"written to {options.output}")


if __name__ == "__main__":
    main()
