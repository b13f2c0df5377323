"""Agents and imaginations from settings in one list, whoever they belong to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any

import torch
from small_models import frame, make_model
from torch import Tensor

from planet.acting.agent import Agent
from planet.config import ImaginationConfig
from planet.latent import LatentState
from planet.models import WorldModel
from planet.ops.equations import next_belief
from planet.planning import PLANNERS, Imagination

MakeAgent = Callable[..., Agent]
MakeImagination = Callable[..., Imagination]


def make_agent(
    model: WorldModel, capture: bool | None = None, planner: str = "cem", **how: Any
) -> Agent:
    """Makes an agent; `how` are settings of planner, imagination and agent."""
    kind = PLANNERS[planner]
    kinds = [{field.name for field in fields(kind)} for kind in (kind, ImaginationConfig)]
    search, rollouts = ({name: how.pop(name) for name in set(how) & names} for names in kinds)
    imagination = ImaginationConfig(**rollouts)
    return Agent(model, kind(**search), imagination=imagination, capture=capture, **how)


def small_agent(capture: bool | None = True, model: WorldModel | None = None, **how: Any) -> Agent:
    """Makes an agent of a small model that plans on the reference, unless named otherwise."""
    small = few_rollouts(how.get("planner", "cem")) | {"backend": "reference"}
    return make_agent(model or make_model(), capture, **small | how)


def few_rollouts(planner: str) -> dict[str, Any]:
    """Settings of a planner that make it quick."""
    small = {"horizon": 2, "candidates": 8, "iterations": 2, "topk": 3}
    names = {field.name for field in fields(PLANNERS[planner]) if field.init}
    return {name: small[name] for name in small if name in names}


def play(agent: Agent, steps: int = 4, explore: bool = False) -> list[list[float]]:
    """The actions of some steps."""
    return [agent.act(frame(t), explore).tolist() for t in range(steps)]


def belief_after(agent: Agent, action: Tensor) -> Tensor:
    """The belief at the next step if `action` [B, A] is executed now."""
    with torch.no_grad():
        return next_belief(agent.world_model.latent_model, latent_of(agent), action)


def latent_of(agent: Agent) -> LatentState:
    """The latent of an agent that was reset."""
    assert agent.latent is not None
    return agent.latent
