"""Does a reduced precision cost anything in the end? Episode returns of trained agents.

    python benchmarks/precision/returns.py RUN_DIR... [--precision int8 bf16]

Plays the same evaluation episodes (same starts, same random numbers) with float32 and with each
precision, and writes means, standard errors and the paired differences to
`benchmarks/results/precision_returns.json`. Rows of runs that were measured before stay.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
from circumstances import RESULTS, circumstances
from gpu.runner import write_json

from planet.experiments.run import open_environment, open_run
from planet.training.score import Score, play, score

REDUCED = ("int8", "bf16")
DEFAULT_SEED = 1000  # no run's own


def measure(directory: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Plays the episodes of one run with every precision."""
    scores: dict[str, Score] = {}
    seconds: dict[str, float] = {}
    for precision in ("fp32", *options.precision):
        chosen = {"precision": precision}
        chosen |= {"backend": options.backend} if options.backend else {}
        run = open_run(directory, {"imagination": chosen})
        environment = open_environment(run)
        began = time.perf_counter()
        try:
            played = play(environment, run.agent, options.episodes, options.seed, name=precision)
        finally:
            environment.close()
        seconds[precision] = round(time.perf_counter() - began, 1)
        row = scores[precision] = score(precision, played)
        took = f"{row.mean:.1f} +- {row.standard_error:.1f}, {seconds[precision]} s"
        print(f"{directory.name}, {precision}: {took}", flush=True)
    return {
        "task": run.config.environment.task,
        "training_seed": run.config.train.seed,
        "updates": run.updates,
        "model": run.config.to_dict()["model"],
        "planner": run.config.to_dict()["planner"],
        "evaluation_seed": options.seed,
        "episodes": options.episodes,
        **{
            precision: {
                "mean": row.mean,
                "standard_error": row.standard_error,
                "returns": [round(value, 2) for value in row.returns],
                "seconds": seconds[precision],
            }
            for precision, row in scores.items()
        },
        **{
            f"{precision} - fp32": difference(scores[precision], scores["fp32"])
            for precision in options.precision
        },
        **circumstances(),
    }


def difference(one: Score, other: Score) -> dict[str, float]:
    """Averages what `one` returned more than `other` in the same episodes, with standard error."""
    pairs = zip(one.returns, other.returns, strict=True)
    row = Score("difference", tuple(a - b for a, b in pairs))
    return {"mean": row.mean, "standard_error": row.standard_error}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN_DIR")
    parser.add_argument("--precision", nargs="+", choices=REDUCED, default=REDUCED)
    parser.add_argument("--episodes", type=int, default=20)
    parser.add_argument("--seed", type=int, default=DEFAULT_SEED)
    parser.add_argument("--backend", choices=["fused", "reference"], help="default: the run's")
    parser.add_argument("--output", type=Path, default=RESULTS / "precision_returns.json")
    options = parser.parse_args()
    torch.set_num_threads(1)
    for directory in options.runs:
        row = measure(directory, options)
        rows = json.loads(options.output.read_text()) if options.output.exists() else {}
        rows[directory.resolve().name] = row
        write_json(options.output, rows)
        for precision in options.precision:
            change = row[f"{precision} - fp32"]
            print(
                f"{directory.name}, {precision} - fp32: "
                f"{change['mean']:+.1f} +- {change['standard_error']:.1f}"
            )
    print(f"written to {options.output}")


if __name__ == "__main__":
    main()
