"""Holds the planner's ops: `backend("reference")` in PyTorch, `backend("fused")` compiled."""

from __future__ import annotations

from types import ModuleType

from planet.errors.checks import check_choice
from planet.ops import fused, reference

BACKENDS: dict[str, ModuleType] = {"reference": reference, "fused": fused}


def backend(name: str) -> ModuleType:
    """Returns the module with `rollout_returns`, `refit` and `cem_plan` of that name.

    Args:
      name: "reference" (plain PyTorch, any device) or "fused" (compiled core).

    Raises:
      ValueError: there is no such backend.
    """
    check_choice("backend", name, sorted(BACKENDS))
    return BACKENDS[name]
