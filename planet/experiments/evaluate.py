"""Compares an agent with what it must beat, on the same noise-free evaluation episodes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from planet.acting.agent import Agent
from planet.acting.baselines import RandomPolicy, ZeroPolicy
from planet.config import Config
from planet.experiments.run import Run, acting_settings
from planet.protocols import Policy, Spec
from planet.storage.atomic import atomic_write
from planet.systems.planet import build
from planet.training.score import Score


def baselines(config: Config, spec: Spec) -> dict[str, Policy]:
    """Makes what a trained agent must beat: random actions, none, and planning without learning.

    The untrained planner has the initial world model of the run of these settings.
    """
    untrained = build(acting_settings(config), spec).policy(config.train.seed_episodes)
    policies: dict[str, Policy] = {"random actions": RandomPolicy(spec)}
    return policies | {"zero actions": ZeroPolicy(spec), "untrained planner": untrained}


def score_table(scores: Sequence[Score]) -> str:
    """Writes a line per policy: environment steps, name, mean, standard error, every return."""
    width = max(len("policy"), *(len(score.policy) for score in scores))
    lines = [f"environment steps  {'policy':{width}}     mean  +- s.e.  returns"]
    for row in scores:
        returns = " ".join(f"{value:.1f}" for value in row.returns)
        start = f"{row.environment_steps:17,}  {row.policy:{width}}"
        lines.append(f"{start}  {row.mean:7.1f}  {row.standard_error:7.1f}  {returns}")
    return "\n".join(lines)


def write_scores(path: Path, run: Run, seed: int, scores: Sequence[Score]) -> None:
    """Writes the scores with what is needed to repeat them, as JSON, atomically."""
    acts = isinstance(run.policy, Agent)
    imagination = vars(run.agent.imagination.settings) if acts else None
    content = {
        "environment_steps": run.environment_steps, "task": run.config.environment.task,
        "episodes_collected": run.episodes, "updates": run.updates, "evaluation_seed": seed,
        "imagination": imagination,
        "scores": [score.to_dict() for score in scores], "config": run.config.to_dict(),
    }  # fmt: skip
    with atomic_write(path) as file:
        file.write((json.dumps(content, indent=2) + "\n").encode())
