"""Collects what a latency depends on."""

from __future__ import annotations

from typing import Any

import torch

from planet.acting.agent import Agent
from planet.diagnostics.build import build_info
from planet.experiments.run import Run
from planet.planning import Imagination
from planet.protocols import Planner, Policy
from planet.weights.rollout_weights import RolloutWeights

Facts = tuple[dict[str, Any], dict[str, Any]]
"""Sizes of the plan, and what computes it."""

_SIZES = "horizon", "candidates", "iterations", "topk", "rollouts"


def policy_facts(policy: Policy, batch_size: int) -> Facts:
    """Returns the facts of a policy's steps; of one that does not plan, little is known."""
    if not isinstance(policy, Agent):
        return {}, {"threads": torch.get_num_threads()}
    plan = plan_facts(policy.planner, policy.weights.rollout, batch_size)
    if policy.execute > 1:
        plan["execute"] = policy.execute
    if "image" in policy.weights.observation:
        plan["pixels"] = policy.weights.observation["image"][1][0]
    if policy.budget_ms is not None:
        plan["budget_ms"] = policy.budget_ms
    return plan, compute_facts(policy.imagination)


def plan_facts(planner: Planner, weights: RolloutWeights, batch_size: int) -> dict[str, Any]:
    """Returns the sizes that decide how long a plan takes.

    Samples are model steps of all rollouts of a problem, as papers count them.
    """
    sizes = {name: getattr(planner, name) for name in _SIZES if hasattr(planner, name)}
    if "rollouts" in sizes:
        sizes["samples"] = sizes["rollouts"] * planner.horizon
    return {
        **sizes,
        "batch_size": batch_size,
        "belief_size": weights.belief_size,
        "state_size": weights.state_size,
        "hidden_size": weights.hidden_size,
        "action_size": weights.action_size,
        "reward_hidden": [weight.shape[0] for weight in weights.reward_weights[:-1]],
    }


def compute_facts(imagination: Imagination) -> dict[str, Any]:
    """Returns device, imagination, instruction set and threads."""
    device = imagination.weights.device
    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        **vars(imagination.settings),
        "instruction_set": _instruction_set(imagination, device),
        "threads": torch.get_num_threads(),
    }


def _instruction_set(imagination: Imagination, device: torch.device) -> str:
    if device.type == "cuda":
        major, minor = torch.cuda.get_device_capability(device)
        return f"sm_{major}{minor}"
    fused, torchs = imagination.backend == "fused", torch.backends.cpu.get_cpu_capability()
    return str(build_info().get(imagination.precision) if fused else torchs).lower()


def run_facts(run: Run, action_repeat: int) -> dict[str, Any]:
    """Returns task, rendering and age of a run's agent."""
    settings = run.config.environment
    return {
        "task": settings.task,
        "action_repeat": action_repeat,
        "rendered": settings.render_size,
        "quality": settings.quality,
        "episodes": run.episodes,
        "updates": run.updates,
    }
