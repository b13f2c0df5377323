"""Agents and imaginations from settings in one list, whoever they belong to."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from planet.agent import Agent
from planet.config import ImaginationConfig
from planet.models import WorldModel
from planet.planning import CEMPlanner
from planet.planning.sampling import Sampling


def make_agent(model: WorldModel, capture: bool | None = None, **how: Any) -> Agent:
    """Makes an agent; `how` are settings of planner, imagination and agent."""
    kinds = [{field.name for field in fields(kind)} for kind in (Sampling, ImaginationConfig)]
    planner, rollouts = ({name: how.pop(name) for name in set(how) & names} for names in kinds)
    imagination = ImaginationConfig(**rollouts)
    return Agent(model, CEMPlanner(**planner), imagination=imagination, capture=capture, **how)
