"""Planners, and the learned scorer that they search with."""

from collections.abc import Callable

from planet.config import PlannerConfig
from planet.planning.cem import CEMPlanner
from planet.planning.imagination import Imagination
from planet.planning.make import make_imagination
from planet.protocols import Planner

PLANNERS: dict[str, Callable[[PlannerConfig], Planner]] = {"cem": CEMPlanner.from_config}
"""Makes a planner of the settings, by `planner.name`."""

__all__ = ["PLANNERS", "CEMPlanner", "Imagination", "make_imagination", "make_planner"]


def make_planner(config: PlannerConfig) -> Planner:
    """Makes the planner that the settings name.

    Raises:
      ValueError: there is none of that name.
    """
    if config.name not in PLANNERS:
        raise ValueError(f"planner.name: expected one of {sorted(PLANNERS)}, got {config.name!r}")
    return PLANNERS[config.name](config)
