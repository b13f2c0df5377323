"""PlaNet: a latent world model learned from pixels, and a compiled planner that plans in it."""

try:
    import numpy as _numpy  # noqa: F401
    import torch as _torch  # noqa: F401
except Exception as error:  # a broken one raises anything
    import sys

    from planet.errors import advice

    needed = "torch>=2.11" if sys.modules.get("numpy") else "numpy"
    anew = [] if isinstance(error, ModuleNotFoundError) else ["--force-reinstall"]
    raise ImportError(
        f"planet needs {needed}, which cannot be imported ({type(error).__name__}: {error}); "
        f"install it with: {advice.install(*anew, needed)}"
    ) from None

from planet.acting.agent import Agent
from planet.diagnostics.build import __version__, build_info
from planet.latent import Gaussian, LatentState
from planet.models import WorldModel
from planet.noise import Noise, row_seeds
from planet.ops.results import Refit
from planet.planning import (
    CEMPlanner,
    GradientPlanner,
    ICEMPlanner,
    Imagination,
    MPPIPlanner,
    ShootingPlanner,
)
from planet.protocols import Plan
from planet.weights.filter_weights import FilterWeights
from planet.weights.rollout_weights import RolloutWeights

__all__ = [
    "Agent",
    "CEMPlanner",
    "FilterWeights",
    "Gaussian",
    "GradientPlanner",
    "ICEMPlanner",
    "Imagination",
    "LatentState",
    "MPPIPlanner",
    "Noise",
    "Plan",
    "Refit",
    "RolloutWeights",
    "ShootingPlanner",
    "WorldModel",
    "__version__",
    "build_info",
    "row_seeds",
]
