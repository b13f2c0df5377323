"""Asks what planners return for their rollouts on the true simulator, where no model errs.

    python benchmarks/planners/study.py [--part bars budgets ...] [--seeds 0 1] [--output FILE]

Plays whole episodes of the paper's tasks with its action repeats by planning on MuJoCo itself, with
every planner and several numbers of rollouts per control step, on one thread. A finished episode is
a line of the output; what is there already is not played again, so the study may be killed and
started at any time. `report.py` makes the tables and the figure.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
from circumstances import RESULTS, circumstances
from planners import lines
from planners.budgets import PLANNERS, Settings, make, settings, switched

from planet import envs
from planet.acting.planning_policy import PlanningPolicy
from planet.envs.simulator import Simulator

SEEDS = (0, 1, 2)
MAIN = ("cartpole-swingup", "cheetah-run", "reacher-easy")
OTHERS = ("cartpole-balance", "finger-spin", "ball_in_cup-catch")
LAST = ("walker-walk",)  # takes longer than all the others
FEW = (30, 120, 300)
MANY = 1000
GRIDS = {
    "budgets": (MAIN, FEW), "tasks": (OTHERS, (120,)), "walker": (LAST, (120,)),
    "1000": (MAIN, (MANY,)),
}  # fmt: skip
SLOW = {"colour": 2.5}  # of iCEM's paper for the slower tasks
SLOWER = ("reacher-easy", "finger-spin", "ball_in_cup-catch")
TENTH = {120: {"topk": 4}, 300: {"topk": 10}}  # of CEM, by rollouts: elites as few as the paper's
REACHER = {"iterations": 5, "candidates": 100, "topk": 10}  # of CEM, 5 episodes


@dataclass(frozen=True)
class Cell:
    """Names one episode: what is played, with which planner, from which seed."""

    task: str
    planner: str
    settings: Settings
    seed: int

    @property
    def key(self) -> tuple[Any, ...]:
        """Tells episodes apart."""
        return self.task, self.planner, tuple(sorted(self.settings.items())), self.seed


def cells(part: str) -> Iterator[Cell]:
    """Names the episodes of a part of the study, in the order of playing."""
    if part == "bars":
        for seed in SEEDS:
            for task in MAIN[:2]:
                for planner in PLANNERS[:2]:
                    yield Cell(task, planner, settings(planner, 120), seed)
        for seed in range(5):
            yield Cell("reacher-easy", "cem", REACHER, seed)
    elif part == "switches":
        for seed in SEEDS:
            for task in MAIN[:2]:
                for planner, chosen in switched().values():
                    yield Cell(task, planner, chosen, seed)
    elif part == "elites":
        for seed in SEEDS:
            for task in MAIN[:2]:
                for rollouts, few in TENTH.items():
                    yield Cell(task, "cem", settings("cem", rollouts) | few, seed)
    elif part == "colour":
        for seed in SEEDS:
            for task in SLOWER:
                yield Cell(task, "icem", settings("icem", 120) | SLOW, seed)
    else:
        tasks, budgets = GRIDS[part]
        for seed in SEEDS:
            for rollouts in budgets:
                for task in tasks:
                    for planner in PLANNERS:
                        yield Cell(task, planner, settings(planner, rollouts), seed)


PARTS = ("bars", "budgets", "tasks", "switches", "elites", "colour", "walker", "1000")


def key_of(row: dict[str, Any]) -> tuple[Any, ...]:
    """Returns the key of a row's cell."""
    return Cell(row["task"], row["planner"], row["settings"], row["seed"]).key


def play(cell: Cell, control_steps: int = 1000) -> dict[str, Any]:
    """Plays one episode, of which nothing is drawn."""
    planner = make(cell.planner, cell.settings)
    environment = envs.make(cell.task, observe="vectors", control_steps=control_steps)
    policy = PlanningPolicy(Simulator(environment, threads=1), planner)
    environment.start(cell.seed)
    policy.reset(cell.seed)
    began = time.process_time()
    total, steps, ended = 0.0, 0, False
    while not ended:
        reward, terminated, truncated, info = environment.simulate(policy.act({}))
        total, steps, ended = total + reward, steps + 1, terminated or truncated
    seconds = time.process_time() - began
    environment.close()
    if info["physics_diverged"]:
        raise RuntimeError(f"{cell}: the physics diverged at step {steps}")
    return {
        **vars(cell), "rollouts": planner.settings.rollouts, "return": total, "steps": steps,
        "cpu_seconds": round(seconds, 2),
    }  # fmt: skip


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--seeds", nargs="+", type=int, default=range(5))
    parser.add_argument("--output", type=Path, default=RESULTS / "planners.jsonl")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = lines.read(options.output)
    done = {key_of(row) for row in rows if "return" in row}
    lines.append(options.output, {"circumstances": circumstances()})
    for part in options.part:
        for cell in cells(part):
            if cell.key in done or cell.seed not in options.seeds:
                continue
            row = play(cell)
            lines.append(options.output, row)
            done.add(cell.key)
            print(
                f"{cell.task} {cell.planner} {row['rollouts']}, seed {cell.seed}: "
                f"{row['return']:.1f}, {row['cpu_seconds']:.1f} CPU-s",
                flush=True,
            )


if __name__ == "__main__":
    main()
