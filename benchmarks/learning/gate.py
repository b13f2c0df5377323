"""Does it really learn? Trains the `small` preset on cheetah-run from pixels and judges the agents.

    python benchmarks/learning/gate.py [--rehearse] [--precision bf16] [--planner-precision bf16]
                                       [--planner icem]

Runs the demo's schedule for three seeds, each once as it is and once with rewards shuffled over the
whole data set, two processes of one thread side by side. Every run that was started is reported, in
`benchmarks/results/learning_gate.json`; the exit status is 0 when each seed passes and the mean
over shuffled ones does. A rehearsal does the same with a few gradient steps, to see that everything
runs: it judges and writes nothing. Another precision of the updates, or another one or another
planner of the plans while it collects and is evaluated, than the preset's is judged by the same
seeds and thresholds in a file of its own, without the arms of shuffled rewards, which are about the
gate.

The thresholds below were fixed before the first run. Random actions return 13 +- 4 and never passed
25 in 72 episodes, zero or constant actions at most 1, and an untrained planner 4 to 9. Shuffled
rewards were first tried with one seed, which returned 4.1 and, with other roundings of the same
planner, 25.7: a planner that follows a meaningless reward acts in one way throughout, now by chance
a good one, now a bad one. So there are as many seeds of them, too, and their mean is judged.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from planet import envs
from planet.config.planner import PLANNER_CONFIGS, other_planner
from planet.config.presets import small
from planet.diagnostics.machine import machine_facts
from planet.replay import read_episode
from planet.systems.planet import build
from planet.training.metrics import read_metrics
from planet.training.trainer import Trainer

SEEDS = (1, 2, 3)
EPISODES = 10
LEAST_RETURN = 50.0
LEAST_OVER_RANDOM = 3.5
MOST_SHUFFLED = 25.0
RESULTS = Path(__file__).parents[1] / "results"
PRECISIONS = ("fp32", "int8", "bf16")


@dataclass(frozen=True)
class Choice:
    """Names the precision of the decoder's products in updates, the planner's, and the planner."""

    updates: str = "fp32"
    plans: str = "fp32"
    planner: str = "cem"

    @property
    def name(self) -> str:
        """The file of their verdict in `benchmarks/results/`."""
        named = [self.updates] if self.updates != "fp32" else []
        named += ["planner", self.plans] if self.plans != "fp32" else []
        named += [self.planner] if self.planner != "cem" else []
        return "_".join(["learning_gate", *named]) + ".json"


class ShuffledTrainer(Trainer):
    """Breaks the link between what was seen and what was earned before every training phase."""

    def _learn(self, due: int) -> None:
        paths = [self.replay.directory / name for name in self.replay.episodes]
        episodes = [read_episode(path) for path in paths]
        rewards = np.concatenate([episode.reward[1:] for episode in episodes])
        generator = np.random.default_rng([self.config.train.seed, self.episodes])
        ends = np.cumsum([episode.length - 1 for episode in episodes])
        pieces = np.split(generator.permutation(rewards), ends[:-1])
        for index, (episode, piece) in enumerate(zip(episodes, pieces, strict=True)):
            reward = np.append(np.float32(0), piece)
            self.replay.add(replace(episode, reward=reward), index)
        super()._learn(due)


def work(
    seed: int, shuffled: bool, choice: Choice, rehearse: bool, directory: str
) -> dict[str, Any]:
    """Trains and evaluates one agent in this process, on one thread."""
    torch.set_num_threads(1)
    config = small("cheetah-run")
    if choice.planner != config.planner.name:
        config = replace(config, planner=other_planner(config.planner, choice.planner))
    train = {"seed": seed, "evaluation_interval": 0, "precision": choice.updates}
    config = config.with_overrides({"train": train, "imagination": {"precision": choice.plans}})
    if rehearse:
        few = {"episodes": 3, "seed_episodes": 2, "initial_updates": 2, "updates_per_episode": 2}
        config = config.with_overrides({"train": few, "planner": {"candidates": 40, "topk": 4}})
    given = config.environment
    environment = envs.make(
        given.task, image_size=given.image_size, render_size=given.render_size,
        quality=given.quality,
    )  # fmt: skip
    wall, cpu = time.perf_counter(), time.process_time()
    kind = ShuffledTrainer if shuffled else Trainer
    trainer = kind(config, directory, environment, build)
    trainer.run()
    trained = time.process_time() - cpu
    score = trainer.evaluate(2 if rehearse else EPISODES)
    metrics = read_metrics(Path(directory) / "metrics.jsonl")
    collected = [line for line in metrics if "collect/return" in line]
    random = [line["collect/return"] for line in collected if not line["collect/planned"]]
    planned = [line["collect/return"] for line in collected if line["collect/planned"]]
    out = {
        "seed": seed,
        "shuffled_rewards": shuffled,
        "precision": choice.updates,
        "planner_precision": choice.plans,
        "planner": choice.planner,
        "returns": [round(value, 2) for value in score.returns],
        "mean": score.mean,
        "standard_error": score.standard_error,
        "random_mean": float(np.mean(random)),
        "random_max": float(np.max(random)),
        "collected_by_planner": [round(value, 2) for value in planned],
        "updates": trainer.learner.updates,
        "train_cpu_seconds": round(trained, 1),
        "wall_seconds": round(time.perf_counter() - wall, 1),
    }
    if not shuffled and not rehearse:
        least = max(LEAST_RETURN, LEAST_OVER_RANDOM * out["random_mean"])
        out["passed"] = score.mean >= least
    return out


def judge(rehearse: bool, choice: Choice) -> int:
    """Runs all arms, two at a time, and writes and prints the verdict."""
    kinds = (False, True) if choice == Choice() else (False,)
    waiting = [(seed, shuffled) for shuffled in kinds for seed in SEEDS]
    running: list[tuple[subprocess.Popen[str], tuple[int, bool]]] = []
    results: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        while waiting or running:
            while waiting and len(running) < 2:
                arm = waiting.pop(0)
                command = [sys.executable, __file__, "--seed", str(arm[0])]
                command += ["--directory", str(Path(folder) / f"{arm[0]}-{arm[1]}")]
                command += ["--precision", choice.updates]
                command += ["--planner-precision", choice.plans, "--planner", choice.planner]
                command += (["--shuffled"] if arm[1] else []) + (["--rehearse"] if rehearse else [])
                process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
                running.append((process, arm))
            process, arm = running.pop(0)
            output, _ = process.communicate()
            if process.returncode:
                results.append({"seed": arm[0], "shuffled_rewards": arm[1],
                                "error": f"exit status {process.returncode}"})  # fmt: skip
            else:
                results.append(json.loads(output.splitlines()[-1]))
            print(json.dumps(results[-1]), flush=True)
    if rehearse:
        failed = any("error" in result for result in results)
        print("FAILED" if failed else "rehearsed: everything ran, nothing was judged")
        return int(failed)
    shuffled = [result.get("mean", math.inf) for result in results if result["shuffled_rewards"]]
    learned = all(result.get("passed") for result in results if not result["shuffled_rewards"])
    passed = learned and sum(shuffled) <= MOST_SHUFFLED * len(shuffled)
    thresholds = {
        "least_return": LEAST_RETURN,
        "least_over_random": LEAST_OVER_RANDOM,
        "most_mean_with_shuffled_rewards": MOST_SHUFFLED,
    }
    report = {
        "command": " ".join(["python benchmarks/learning/gate.py", *sys.argv[1:]]),
        "passed": passed,
        "thresholds": thresholds,
        "runs": results,
        "machine": machine_facts(),
    }
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / choice.name
    path.write_text(json.dumps(report, indent=2) + "\n")
    print("\n".join(lines(path)))
    print(f"{'passed' if passed else 'FAILED'}: {path}")
    return 0 if passed else 1


def lines(path: Path) -> list[str]:
    """A verdict's figures by seed, float32's beside them where they were measured."""
    out = []
    for file in dict.fromkeys((path, RESULTS / Choice().name)):
        runs = json.loads(file.read_text())["runs"] if file.exists() else []
        learned = [run for run in runs if not run["shuffled_rewards"] and "mean" in run]
        figures = [
            f"seed {run['seed']}: {run['mean']:.0f} +- {run['standard_error']:.0f}"
            for run in learned
        ]
        out.append(f"{file.stem}: {', '.join(figures)}")
    return out


def main() -> int:
    """Judges, or with --seed works on one arm."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int)
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--planner-precision", choices=PRECISIONS, default="fp32")
    parser.add_argument("--planner", choices=PLANNER_CONFIGS, default="cem")
    parser.add_argument("--shuffled", action="store_true")
    parser.add_argument("--rehearse", action="store_true", help="a few steps; judges nothing")
    parser.add_argument("--directory")
    options = parser.parse_args()
    choice = Choice(options.precision, options.planner_precision, options.planner)
    if options.seed is None:
        return judge(options.rehearse, choice)
    given = options.shuffled, choice, options.rehearse, options.directory
    print(json.dumps(work(options.seed, *given)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
