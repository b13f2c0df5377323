"""The planner's ops: `backend("reference")` in PyTorch, `backend("fused")` in the compiled core."""

from __future__ import annotations

from types import ModuleType

from planet.errors.checks import check_choice
from planet.noise import Noise, row_seeds
from planet.ops import fused, reference
from planet.ops.results import Refit
from planet.protocols import Plan

BACKENDS: dict[str, ModuleType] = {"reference": reference, "fused": fused}

__all__ = ["BACKENDS", "Noise", "Plan", "Refit", "backend", "row_seeds"]


def backend(name: str) -> ModuleType:
    """The module with `rollout_returns`, `refit` and `cem_plan` of that name.

    Args:
      name: "reference" (plain PyTorch, any device) or "fused" (compiled core).

    Raises:
      ValueError: there is no such backend.
    """
    check_choice("backend", name, sorted(BACKENDS))
    return BACKENDS[name]
