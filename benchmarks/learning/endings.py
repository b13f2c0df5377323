"""Does it help to learn where episodes end? Trains with and without continuation, and compares.

    python benchmarks/learning/endings.py                        # the pendulum, three seeds
    python benchmarks/learning/endings.py --task gym:InvertedPendulum-v5
    python benchmarks/learning/endings.py --task gym:Hopper-v5
    python benchmarks/learning/endings.py --quick --output FILE  # a few steps, to see that it runs

A task is learned from its state vectors, and its episodes end when the body falls. Each seed learns
it without and with `model.continuation`, on one thread, with the same settings otherwise and the
same random episodes at first. Both agents then play the same evaluation episodes, cut at 200 steps,
without exploration. A difference is decided where it is more than two standard errors over these
episodes. They say nothing of how trainings differ, so it is told by seed, and over seeds, too.

`InvertedPendulum-v4` pays 1 for every step, the one that falls included, so that nothing but the
logit can tell what falling costs. `v5` pays nothing for that step, which a model of rewards can
learn from. `Hopper-v5` pays for speed, too, and a fall forward is fast.

Replay draws no episode that is shorter than a chunk. Of random episodes of the pendulum half last 5
steps or fewer, of the hopper 21, and the shortest 3 and 10. So chunks have 4 entries, the reset's
frame and three steps, or 8. Writes JSON.
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
from circumstances import circumstances, result_path
from gpu.runner import write_json

from planet.config import Config
from planet.config.presets import small
from planet.envs import make
from planet.systems.planet import build
from planet.training.metrics import read_metrics
from planet.training.score import Score
from planet.training.trainer import Trainer

SEEDS, EPISODES, STEPS = (1, 2, 3), 10, 200
PENDULUM = {
    "chunk_length": 4, "batch_size": 50, "vector_weight": 100.0, "divergence_weight": 0.3,
    "free_nats": 0.0, "exploration_stddev": 0.1,
}  # fmt: skip
TASKS: dict[str, dict[str, Any]] = {
    "gym:InvertedPendulum-v4": PENDULUM,
    "gym:InvertedPendulum-v5": PENDULUM,
    "gym:Hopper-v5": {
        "chunk_length": 8, "batch_size": 30, "vector_weight": 10.0, "free_nats": 0.1,
    },
}  # fmt: skip
"""Settings of training for each: a chunk no longer than random episodes are."""

QUICK = {
    "environment": {"control_steps": 20},
    "train": {"episodes": 4, "seed_episodes": 3, "initial_updates": 2, "updates_per_episode": 2},
}
Result = dict[str, Any]


def settings(task: str, seed: int, continuation: bool) -> Config:
    """Sets up a small run that learns from vectors."""
    return small(task).with_overrides({
        "environment": {"observe": "vectors", "action_repeat": 1, "control_steps": STEPS},
        "model": {"state_size": 8, "belief_size": 50, "hidden_size": 50, "vector_hidden": [64],
                  "reward_hidden": 64, "continuation": continuation},
        "planner": {"horizon": 15, "candidates": 100, "iterations": 3, "topk": 10},
        "train": {"seed": seed, "episodes": 60, "seed_episodes": 40, "initial_updates": 500,
                  "updates_per_episode": 50, "reward_weight": 10.0, "continuation_weight": 10.0,
                  "evaluation_interval": 0, **TASKS[task]},
    })  # fmt: skip


def learn(config: Config, episodes: int) -> Result:
    """Trains an agent and plays evaluation episodes with it."""
    given, began = config.environment, time.process_time()
    environment = make(
        given.task, observe=given.observe, action_repeat=given.action_repeat,
        control_steps=given.control_steps,
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        with Trainer(config, folder, environment, build) as trainer:
            trainer.run()
            score = trainer.evaluate(episodes)
        lines = [line for line in read_metrics(Path(folder)) if "collect/return" in line]
    environment.close()
    random = [line["collect/return"] for line in lines if not line["collect/planned"]]
    return {
        "seed": config.train.seed, "continuation": config.model.continuation,
        "returns": [round(value, 2) for value in score.returns], "mean": score.mean,
        "standard_error": score.standard_error, "random_mean": float(np.mean(random)),
        "collected_by_planner": [
            round(line["collect/return"], 2) for line in lines if line["collect/planned"]
        ],
        "cpu_seconds": round(time.process_time() - began, 1),
    }  # fmt: skip


def compare(results: Sequence[Result]) -> dict[str, Any]:
    """Compares the returns of all evaluation episodes, with continuation minus without.

    `seeds` is the same of the means of seeds, each trained both ways.
    """
    pooled: dict[bool, list[float]] = {False: [], True: []}
    for result in results:
        pooled[result["continuation"]] += result["returns"]
    means = {arm: float(np.mean(returns)) for arm, returns in pooled.items()}
    errors = {arm: float(np.std(x, ddof=1) / len(x) ** 0.5) for arm, x in pooled.items()}
    difference, error = means[True] - means[False], math.hypot(*errors.values())
    trained = [[float(np.mean(r["returns"])) for r in results if r["continuation"] is arm]
               for arm in (False, True)]  # fmt: skip
    by_seed = Score("with minus without", tuple(np.subtract(trained[1], trained[0]).tolist()))
    return {
        "episodes_each": len(pooled[True]),
        "without": {"mean": means[False], "standard_error": errors[False]},
        "with": {"mean": means[True], "standard_error": errors[True]},
        "difference": difference, "standard_error": error,
        "decided": abs(difference) > 2 * error,
        "seeds": {"mean": by_seed.mean, "standard_error": by_seed.standard_error},
    }  # fmt: skip


def line(name: str, results: Sequence[Result]) -> str:
    """Says how a comparison came out."""
    found = compare(results)
    without, learned = (
        f"{found[arm]['mean']:.1f} +- {found[arm]['standard_error']:.1f}"
        for arm in ("without", "with")
    )
    verdict = "decided" if found["decided"] else "undecided"
    return (
        f"{name}: {without} without, {learned} with continuation; difference "
        f"{found['difference']:.1f} +- {found['standard_error']:.1f}, {verdict} "
        f"({found['episodes_each']} episodes each)"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Trains and compares all seeds, prints and writes what came."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--task", choices=TASKS, default="gym:InvertedPendulum-v4")
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    parser.add_argument("--quick", action="store_true", help="a few steps, one seed")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args(arguments)
    task = options.task.partition(":")[2].replace("-", "_").lower()
    results: list[Result] = []
    for seed in options.seeds[:1] if options.quick else options.seeds:
        for continuation in (False, True):
            config = settings(options.task, seed, continuation)
            config = config.with_overrides(QUICK) if options.quick else config
            results.append(learn(config, 2 if options.quick else EPISODES))
        print(line(f"seed {seed}", results[-2:]), flush=True)
    random = np.mean([result["random_mean"] for result in results])
    found = compare(results)
    by_seed = f"{found['seeds']['mean']:.1f} +- {found['seeds']['standard_error']:.1f}"
    if len(results) > 2:
        print(f"{line('all seeds', results)}, {by_seed} over seeds; random actions {random:.1f}")
    content = {**circumstances(), "task": options.task, **found, "runs": results}
    write_json(options.output or result_path(f"endings_{task}", "cpu"), content)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
