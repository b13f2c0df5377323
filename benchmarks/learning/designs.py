"""Compares designs of the latent model, and the rungs of the ladder, on what their agents return.

    python benchmarks/learning/designs.py [--study designs ladder] [--seeds 0 1 2] [--workers 2]

"designs" trains every design on cheetah-run from 30 random episodes of 32x32 pixels, as the preset
`small` has it, with 2,400 updates and nothing collected after them: all see the same data. "ladder"
trains the presets v0.5, v1.0 and v1.5. Every trained agent, and random actions, play evaluation
episodes. A finished run is a line of the output; what is there already is not run again, so the
study may be killed and started at any time. `--report` makes the tables of what is there.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
from circumstances import RESULTS, circumstances
from planners import lines

from planet.acting.baselines import RandomPolicy
from planet.config import Config
from planet.config.presets import PRESETS, small
from planet.experiments.run import make_environment
from planet.protocols import Policy
from planet.systems.planet import build
from planet.training.check_environment import check_environment
from planet.training.metrics import read_metrics
from planet.training.score import play
from planet.training.trainer import Trainer

Overrides = Mapping[str, Mapping[str, Any]]

RANDOM = "random actions"
DESIGNS: dict[str, Overrides] = {
    "RSSM": {},
    "SSM": {"model": {"transition": "ssm"}},
    "RNN": {"model": {"stochastic": False}},
    "RNN, prior untrained": {"model": {"stochastic": False}, "train": {"divergence_weight": 0.0}},
    "encoder, two frames": {
        "model": {"transition": "ssm", "posterior": "encoder"}, "environment": {"frames": 2},
    },
}  # fmt: skip
LADDER = ("v0.5", "v1.0", "v1.5")
EPISODES = {"designs": 5, "ladder": 10}
"""Evaluation episodes of a run."""


@dataclass(frozen=True)
class Cell:
    """Names a run."""

    study: str
    arm: str
    seed: int

    @property
    def config(self) -> Config:
        """Settings of the run; those of random actions are any of the study's."""
        if self.study == "ladder":
            config = PRESETS["v1.5" if self.arm == RANDOM else self.arm]()
            train = replace(config.train, seed=self.seed, evaluation_interval=0)
            return replace(config, train=train)
        base = small("cheetah-run")
        train = replace(
            base.train, episodes=30, initial_updates=2400, evaluation_interval=0, seed=self.seed
        )
        return replace(base, train=train).with_overrides(DESIGNS.get(self.arm, {}))


def cells(study: str, seeds: list[int]) -> Iterator[Cell]:
    """Names the runs of a study, one seed of every arm after the other."""
    arms = [*DESIGNS] if study == "designs" else [*LADDER]
    for seed in seeds:
        for arm in (*arms, RANDOM):
            yield Cell(study, arm, seed)


def run(cell: Cell) -> dict[str, Any]:
    """Trains an agent and plays with it; one thread."""
    torch.set_num_threads(1)
    config, began = cell.config, time.process_time()
    environment = make_environment(config.environment)
    costs: dict[str, float] = {}
    if cell.arm == RANDOM:
        policy: Policy = RandomPolicy(check_environment(environment, config.environment))
    else:
        with tempfile.TemporaryDirectory(prefix="designs") as folder:
            with Trainer(config, Path(folder) / "run", environment, build) as trainer:
                trainer.run()
                policy = trainer.learner.policy(config.train.episodes)
            costs = _costs(Path(folder) / "run" / "metrics.jsonl")
    trained = time.process_time() - began
    episodes = play(environment, policy, EPISODES[cell.study], config.train.seed)
    environment.close()
    steps = sum(episode.length - 1 for episode in episodes)
    playing = time.process_time() - began - trained
    return {
        **vars(cell), **costs, "returns": [episode.total_reward for episode in episodes],
        "cpu_seconds": round(trained, 1), "cpu_ms_per_step": round(1e3 * playing / steps, 2),
    }  # fmt: skip


def _costs(path: Path) -> dict[str, float]:
    """Reads the last means of the loss's terms."""
    metrics = read_metrics(path)
    names = {name for line in metrics for name in line if name.startswith("train/")}
    newest = {name: line[name] for line in metrics for name in names if name in line}
    return {name: float(value) for name, value in sorted(newest.items())}


def report(rows: list[dict[str, Any]]) -> str:
    """Writes a table for each study: means over seeds, and standard errors over all episodes."""
    text = []
    for study in EPISODES:
        found = [row for row in rows if row.get("study") == study]
        text += ["", f"| {study} | by seed | mean | s.e. | n | CPU s | over random, s.e. |"]
        text.append("|---|---|---|---|---|---|---|")
        baseline = _summary([row for row in found if row["arm"] == RANDOM])
        for arm in dict.fromkeys(row["arm"] for row in found):
            mine = [row for row in found if row["arm"] == arm]
            mean, error, count = _summary(mine)
            by_seed = ", ".join(f"{np.mean(row['returns']):.0f}" for row in mine)
            seconds = np.mean([row["cpu_seconds"] for row in mine])
            apart = (mean - baseline[0]) / math.hypot(error, baseline[1]) if baseline[2] else 0.0
            text.append(
                f"| {arm} | {by_seed} | {mean:.1f} | {error:.1f} | {count} | {seconds:.0f} | "
                f"{apart:.1f} |"
            )
    return "\n".join(text)


def _summary(rows: list[dict[str, Any]]) -> tuple[float, float, int]:
    """Returns mean, its standard error by the spread between seeds' means, and episodes."""
    means = np.array([np.mean(row["returns"]) for row in rows])
    count = sum(len(row["returns"]) for row in rows)
    if not count:
        return math.nan, math.nan, 0
    spread = means.std(ddof=1) / math.sqrt(len(means)) if len(means) > 1 else math.nan
    return float(means.mean()), float(spread), count


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--study", nargs="+", choices=EPISODES, default=[*EPISODES])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--workers", type=int, default=2, help="runs at a time")
    parser.add_argument("--output", type=Path, default=RESULTS / "designs.jsonl")
    parser.add_argument("--report", action="store_true", help="make the tables alone")
    options = parser.parse_args()
    rows = lines.read(options.output)
    if not options.report:
        done = {(row["study"], row["arm"], row["seed"]) for row in rows if "returns" in row}
        wanted = [cell for study in options.study for cell in cells(study, options.seeds)]
        wanted = [cell for cell in wanted if (cell.study, cell.arm, cell.seed) not in done]
        lines.append(options.output, {"circumstances": circumstances()})
        with multiprocessing.get_context("spawn").Pool(options.workers, maxtasksperchild=1) as pool:
            for row in pool.imap_unordered(run, wanted):
                lines.append(options.output, row)
                print(
                    row["study"], row["arm"], row["seed"], np.round(row["returns"], 1), flush=True
                )
    print(report(lines.read(options.output)))


if __name__ == "__main__":
    main()
