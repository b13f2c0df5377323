"""Collects what a latency depends on."""

from __future__ import annotations

from typing import Any

import torch

from planet.config import PlannerConfig
from planet.diagnostics.build import build_info
from planet.experiments.run import Run
from planet.planning import Imagination
from planet.weights.rollout_weights import RolloutWeights


def plan_facts(planner: PlannerConfig, weights: RolloutWeights, batch_size: int) -> dict[str, Any]:
    """Returns the sizes that decide how long a plan takes."""
    facts = {
        "horizon": planner.horizon,
        "candidates": planner.candidates,
        "iterations": planner.iterations,
        "topk": planner.topk,
        "batch_size": batch_size,
        "belief_size": weights.belief_size,
        "state_size": weights.state_size,
        "hidden_size": weights.hidden_size,
        "action_size": weights.action_size,
        "reward_hidden": [weight.shape[0] for weight in weights.reward_weights[:-1]],
    }
    return facts if planner.budget_ms is None else {**facts, "budget_ms": planner.budget_ms}


def compute_facts(imagination: Imagination) -> dict[str, Any]:
    """Returns device, imagination, instruction set and threads; on CUDA the clock as well."""
    device = imagination.weights.device
    cuda = device.type == "cuda"
    facts = {
        "device": torch.cuda.get_device_name(device) if cuda else "cpu",
        **vars(imagination.settings),
        "instruction_set": _instruction_set(imagination, device),
        "threads": torch.get_num_threads(),
    }
    clock = "host, device synchronised before and after each stage"
    return {**facts, "clock": clock} if cuda else facts


def _instruction_set(imagination: Imagination, device: torch.device) -> str:
    if device.type == "cuda":
        major, minor = torch.cuda.get_device_capability(device)
        return f"sm_{major}{minor}"
    fused, torchs = imagination.backend == "fused", torch.backends.cpu.get_cpu_capability()
    return str(build_info().get(imagination.precision) if fused else torchs).lower()


def run_facts(run: Run, action_repeat: int) -> dict[str, Any]:
    """Returns task, pixels and age of a run's agent."""
    settings = run.config.environment
    return {
        "task": settings.task,
        "action_repeat": action_repeat,
        "pixels": settings.image_size,
        "rendered": settings.render_size,
        "quality": settings.quality,
        "episodes": run.episodes,
        "updates": run.updates,
    }
