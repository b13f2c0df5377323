"""Where the time of one control step goes: render, filter, plan, environment."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

from planet.build import build_info
from planet.latent import LatentState
from planet.machine import machine_facts
from planet.planning import CEMPlanner
from planet.training.run import Run
from planet.weights import RolloutWeights

_PERCENTILES = (50, 95, 99)


@dataclass(frozen=True)
class Stage:
    """Wall times of one part of the control step.

    Attributes:
      name: "render", "filter", "plan", "environment" or "total".
      milliseconds: one per step.
    """

    name: str
    milliseconds: tuple[float, ...]

    def summary(self) -> dict[str, float]:
        """p50, p95, p99, max and mean in milliseconds."""
        values = np.asarray(self.milliseconds)
        out = {f"p{p}_ms": float(np.percentile(values, p)) for p in _PERCENTILES}
        return {**out, "max_ms": float(values.max()), "mean_ms": float(values.mean())}


@dataclass(frozen=True)
class Profile:
    """Times by stage, and what they depend on.

    Attributes:
      stages: in the order of a step, the total last.
      plan: the plan's sizes.
      compute: device, backend, instruction set, threads.
      machine: see `machine_facts`.
      run: task, episodes and updates of the agent; None for a bare planner with random weights.
    """

    stages: tuple[Stage, ...]
    plan: dict[str, Any]
    compute: dict[str, Any]
    machine: dict[str, Any]
    run: dict[str, Any] | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "steps": len(self.stages[0].milliseconds),
            "stages": {stage.name: stage.summary() for stage in self.stages},
            "plan": self.plan,
            "compute": self.compute,
            "machine": self.machine,
            "run": self.run,
        }

    def table(self) -> str:
        """Facts and times as lines of text."""
        facts = {"plan": self.plan, "compute": self.compute, "machine": self.machine}
        if self.run is not None:
            facts = {"run": self.run, **facts}
        lines = [
            f"{title:9}" + ", ".join(f"{_words(name)} {_shown(v)}" for name, v in values.items())
            for title, values in facts.items()
        ]
        names = [f"p{p}" for p in _PERCENTILES] + ["max", "mean"]
        steps = len(self.stages[0].milliseconds)
        header = "".join(f"{name:>9}" for name in names)
        lines.append(f"\n{'stage':12}{header}   ms per control step, {steps} steps")
        for stage in self.stages:
            row = "".join(f"{value:9.2f}" for value in stage.summary().values())
            lines.append(f"{stage.name:12}{row}")
        return "\n".join(lines)


def profile_planner(
    planner: CEMPlanner, weights: RolloutWeights, batch_size: int = 1, steps: int = 100
) -> Profile:
    """Times a planner alone, from a zero latent.

    Args:
      planner: what is timed.
      weights: snapshot on the device to compute on.
      batch_size: B, problems per plan.
      steps: how many plans are timed, after a few that are not counted.

    Raises:
      ValueError: `batch_size` or `steps` is less than 1, or the planner refuses the sizes.
      ImportError: the backend is missing.
    """
    _check_at_least_one(batch_size=batch_size, steps=steps)
    latent = LatentState(
        torch.zeros(batch_size, weights.belief_size, device=weights.device),
        torch.zeros(batch_size, weights.state_size, device=weights.device),
    )
    times = []
    for step in range(-_warmup(steps), steps):
        seconds = _timed(weights.device, partial(planner.plan, weights, latent, step))[0]
        if step >= 0:
            times.append(1e3 * seconds)
    return Profile(
        (Stage("plan", tuple(times)),),
        plan_facts(planner, weights, batch_size),
        compute_facts(planner.backend, weights.device),
        machine_facts(),
    )


def profile_run(run: Run, environment: Any, steps: int = 100) -> Profile:
    """Times the control steps of a trained agent in its environment.

    Args:
      run: the agent.
      environment: of `planet.envs.make`: its `advance` and `observe` are timed apart.
      steps: how many control steps are timed, after a few that are not counted.

    Raises:
      ValueError: `steps` is less than 1.
    """
    _check_at_least_one(steps=steps)
    agent, device = run.agent, run.agent.world_model.device
    rows: dict[str, list[float]] = {
        name: [] for name in ("render", "filter", "plan", "environment")
    }
    observation: Any = None
    ended = True
    for step in range(-_warmup(steps), steps):
        if ended:
            observation, _ = environment.reset(seed=0)
            agent.reset(1)
        filtering, _ = _timed(device, partial(agent.filter, observation))
        planning, plan = _timed(device, agent.plan)
        action = plan.action[0].cpu().numpy()
        agent.executed(action)
        acting, outcome = _timed(device, partial(environment.advance, action))
        rendering, observation = _timed(device, environment.observe)
        ended = outcome[1] or outcome[2]
        if step >= 0:
            seconds = (rendering, filtering, planning, acting)
            for values, second in zip(rows.values(), seconds, strict=True):
                values.append(1e3 * second)
    stages = [Stage(name, tuple(values)) for name, values in rows.items()]
    stages.append(Stage("total", tuple(map(sum, zip(*rows.values(), strict=True)))))
    weights = agent.world_model.rollout_weights()
    settings = run.config.environment
    facts = {
        "task": settings.task,
        "action_repeat": environment.action_repeat,
        "pixels": settings.image_size,
        "rendered": settings.render_size,
        "quality": settings.quality,
        "episodes": run.episodes,
        "updates": run.updates,
    }
    return Profile(
        tuple(stages),
        plan_facts(agent.planner, weights, 1),
        compute_facts(agent.planner.backend, device),
        machine_facts(),
        facts,
    )


def plan_facts(planner: CEMPlanner, weights: RolloutWeights, batch_size: int) -> dict[str, Any]:
    """The sizes that decide how long a plan takes."""
    reward = [weight.shape[0] for weight in weights.reward_weights[:-1]]
    return {
        "horizon": planner.horizon,
        "candidates": planner.candidates,
        "iterations": planner.iterations,
        "topk": planner.topk,
        "batch_size": batch_size,
        "belief_size": weights.belief_size,
        "state_size": weights.state_size,
        "hidden_size": weights.hidden_size,
        "action_size": weights.action_size,
        "reward_hidden": reward,
    }


def compute_facts(backend: str, device: torch.device) -> dict[str, Any]:
    """What computes: device, backend, instruction set, threads."""
    name = "cpu" if device.type == "cpu" else torch.cuda.get_device_name(device)
    fused = backend == "fused" and device.type == "cpu"
    isa = build_info().get("isa", "none") if fused else torch.backends.cpu.get_cpu_capability()
    return {
        "device": name,
        "backend": backend,
        "instruction_set": str(isa).lower(),
        "threads": torch.get_num_threads(),
    }


def _timed(device: torch.device, call: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds that a call takes, work on the device included, and what it returns."""
    _synchronise(device)
    began = time.perf_counter()
    result = call()
    _synchronise(device)
    return time.perf_counter() - began, result


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _warmup(steps: int) -> int:
    return min(5, steps)


def _words(name: str) -> str:
    """Names as people read them: "belief_size" is "belief"."""
    return name.removesuffix("_size").replace("_", " ")


def _shown(value: object) -> str:
    """Values as people read them: [200, 200] is "200 200"."""
    return (" ".join(map(str, value)) or "none") if isinstance(value, list) else str(value)


def _check_at_least_one(**arguments: int) -> None:
    for name, value in arguments.items():
        if value < 1:
            raise ValueError(f"{name}: expected at least 1, got {value}")
