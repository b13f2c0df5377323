"""Asks how many rollouts a planner needs on a learned model, by returns of trained agents.

    python benchmarks/planners/learned.py RUN_DIR... [--planner NAME] [--episodes 5] [--output FILE]

Plays the same evaluation episodes with every planner and several numbers of rollouts per control
step. A finished episode is a line of the output; what is there already is not played again.
`report.py` makes the tables, and says whether iCEM with at most 150 rollouts returns at least 0.9
of what CEM does with 300 candidates and five iterations.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
from circumstances import RESULTS, circumstances
from planners import lines
from planners.budgets import PLANNERS, Settings, make, settings

from planet.experiments.run import Run, open_environment, open_run
from planet.training.collect import Environment, run_episode
from planet.training.seeds import evaluation_seeds

ROLLOUTS = (150, 120, 30, 300)  # in the order of playing
REFERENCE = ("cem", {"candidates": 300, "iterations": 5, "topk": 30})
GRADIENT: tuple[tuple[str, Settings], ...] = (
    ("gradient", {"candidates": 4, "iterations": 29}),
    ("gradient", {"candidates": 16, "iterations": 60}),
)
"""Gradient ascent from 4 starts, which scores 120 sequences, and with its defaults."""

SEED = 1000  # of the evaluation; no run's own


def planners() -> Iterator[tuple[str, Settings]]:
    """Names planners and settings in the order of playing."""
    yield REFERENCE
    for rollouts in ROLLOUTS:
        for planner in PLANNERS:
            yield planner, settings(planner, rollouts)
    yield from GRADIENT


def play(run: Run, environment: Environment, index: int) -> dict[str, Any]:
    """Plays one evaluation episode."""
    start, seed = evaluation_seeds(SEED, index)
    run.agent.reset(seed)
    began = time.process_time()
    episode = run_episode(environment, run.agent, start, name=f"episode {index + 1}")
    return {
        "return": episode.total_reward,
        "steps": episode.length - 1,
        "cpu_seconds": round(time.process_time() - began, 2),
    }


def key_of(row: dict[str, Any]) -> tuple[Any, ...]:
    """Tells episodes apart."""
    return row["run"], row["planner"], tuple(sorted(row["settings"].items())), row["seed"]


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN_DIR")
    parser.add_argument("--planner", choices=[*PLANNERS, "gradient"], help="only this one")
    parser.add_argument("--episodes", type=int, default=5)
    parser.add_argument("--output", type=Path, default=RESULTS / "planners_learned.jsonl")
    options = parser.parse_args()
    torch.set_num_threads(1)
    done = {key_of(row) for row in lines.read(options.output) if "return" in row}
    lines.append(options.output, {"circumstances": circumstances()})
    runs = {directory.resolve().name: open_run(directory) for directory in options.runs}
    environments = {name: open_environment(run) for name, run in runs.items()}
    arms = [arm for arm in planners() if options.planner in (None, arm[0])]
    for planner, chosen in arms:
        for index in range(options.episodes):
            for name, run in runs.items():
                row = {"run": name, "planner": planner, "settings": chosen, "seed": index}
                if key_of(row) in done:
                    continue
                run.agent.planner = made = make(planner, chosen)
                row |= {"task": run.config.environment.task, "rollouts": made.rollouts}
                row |= play(run, environments[name], index)
                lines.append(options.output, row)
                print(
                    f"{name} {planner} {row['rollouts']}, episode {index + 1}: "
                    f"{row['return']:.1f}, {row['cpu_seconds']:.1f} CPU-s",
                    flush=True,
                )


if __name__ == "__main__":
    main()
