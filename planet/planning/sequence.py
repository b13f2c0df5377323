"""The sequence of actions that a plan stands for."""

from __future__ import annotations

import torch
from torch import Tensor

from planet.config.planner import check_execute, check_sequence
from planet.errors.scalars import check_int
from planet.planning.sampling import SamplingPlanner
from planet.protocols import Plan, Planner


def sequence(plan: Plan, planner: Planner) -> Tensor:
    """Returns the actions of a plan, [H, B, A]; `plan.action` is their first.

    They are the best candidate where the planner acts by that and keeps it, else the mean.

    Args:
      plan: of the planner, or one that `shift` moved on.
      planner: made it.
    """
    if isinstance(planner, SamplingPlanner):
        search = planner.settings
        if search.output == "best" and search.keep:
            return plan.kept[:, :, 0]
    return torch.cat([plan.action[None], plan.mean[1:]])


def executable(planner: Planner, execute: int) -> int:
    """Checks how many actions of each plan are to be executed.

    Raises:
      TypeError, ValueError: it is no number in [1, H], or the planner acts by its best candidate
        and keeps none, so that of more than one action only the first would be the best's.
    """
    execute = check_int("execute", execute, 1)
    if execute > 1:  # a plan of any kind has one
        check_execute(execute, planner.horizon)
        if isinstance(planner, SamplingPlanner):
            check_sequence(execute, planner.settings.output, planner.settings.keep)
    return execute
