"""PlaNet: a latent world model learned from pixels, and a compiled planner that plans in it."""

from planet.agent import Agent
from planet.build import build_info
from planet.latent import Gaussian, LatentState
from planet.models import WorldModel
from planet.noise import Noise, row_seeds
from planet.ops.results import Plan, Refit
from planet.planning import CEMPlanner
from planet.weights import RolloutWeights

__version__ = "0.1.0"

__all__ = [
    "Agent",
    "CEMPlanner",
    "Gaussian",
    "LatentState",
    "Noise",
    "Plan",
    "Refit",
    "RolloutWeights",
    "WorldModel",
    "__version__",
    "build_info",
    "row_seeds",
]
