"""Planners, and the learned scorer that they search with."""

from dataclasses import fields

from planet.config import PlannerConfig
from planet.planning.cem import CEMPlanner
from planet.planning.gradient import GradientPlanner
from planet.planning.icem import ICEMPlanner
from planet.planning.imagination import Imagination
from planet.planning.make import make_imagination
from planet.planning.mppi import MPPIPlanner
from planet.planning.sampling import SamplingPlanner, SearchSettings
from planet.planning.sequence import executable, sequence
from planet.planning.shift import cold, shift
from planet.planning.shooting import ShootingPlanner
from planet.protocols import Planner

PLANNERS: dict[str, type[SamplingPlanner] | type[GradientPlanner]] = {
    "cem": CEMPlanner,
    "icem": ICEMPlanner,
    "mppi": MPPIPlanner,
    "shooting": ShootingPlanner,
    "gradient": GradientPlanner,
}
"""The planner that is made of settings, by their name; both have the same fields."""

__all__ = [
    "PLANNERS",
    "CEMPlanner",
    "GradientPlanner",
    "ICEMPlanner",
    "Imagination",
    "MPPIPlanner",
    "SamplingPlanner",
    "SearchSettings",
    "ShootingPlanner",
    "cold",
    "executable",
    "make_imagination",
    "make_planner",
    "sequence",
    "shift",
]


def make_planner(config: PlannerConfig) -> Planner:
    """Makes the planner that the settings name."""
    kind = PLANNERS[config.name]
    return kind(**{f.name: getattr(config, f.name) for f in fields(kind) if f.init})
