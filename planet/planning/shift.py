"""Warm starts: a plan that begins where the plan before has come to."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from planet.errors.checks import check_choice, check_shape, check_type
from planet.errors.scalars import check_int
from planet.planning.sampling import SamplingPlanner, box_of
from planet.protocols import Plan, Scorer


def shift(plan: Plan, steps: int, planner: SamplingPlanner, scorer: Scorer) -> Plan:
    """Moves a plan on by the steps that were executed since.

        before   m[0]  m[1]  m[2]  m[3]              before   k[0]  k[1]  k[2]  k[3]
        after    m[1]  m[2]  m[3]  tail              kept     k[1]  k[2]  k[3]  NaN: drawn anew

    The tail of the mean is its last one (`shift="repeat"` of the planner) or the middle of the box
    ("middle"). The stddev is the planner's first.

    Args:
      plan: an earlier one of the planner.
      steps: model steps since; H or more leave nothing but the tail.
      planner: that goes on.
      scorer: of the next plan; its box is read.

    Returns:
      Plan, for `planner.plan(scorer, warm=...)`.

    Raises:
      TypeError, ValueError: the planner starts cold, or the plan is of other sizes.
    """
    settings = check_type("planner", planner, SamplingPlanner).settings
    check_choice("planner.shift", settings.shift, ("repeat", "middle"))
    check_type("plan", plan, Plan)
    steps = check_int("steps", steps, 0)
    horizon, box, batch = settings.horizon, box_of(scorer), scorer.batch_size
    shape = horizon, batch, box.low.shape[-1]
    check_shape("plan.mean", plan.mean, shape, "[H, B, A]")
    first, stddev = box.distribution(shape, settings.initial_stddev)
    tail = first if settings.shift == "middle" else plan.mean[-1:].expand(shape)
    mean = _moved(plan.mean, tail, steps)
    kept = _moved(plan.kept, torch.full_like(plan.kept, torch.nan), steps)
    return replace(plan, action=mean[0].clone(), mean=mean, stddev=stddev, kept=kept)


def cold(planner: SamplingPlanner, scorer: Scorer) -> Plan:
    """Returns the plan before the first one: to start from it is to start without any.

    Returns:
      Plan with the first distribution, and kept sequences of NaN, which are no candidates.
    """
    settings, box, batch = planner.settings, box_of(scorer), scorer.batch_size
    mean, stddev = box.distribution(
        (settings.horizon, batch, box.low.shape[-1]), settings.initial_stddev
    )
    kept = mean.new_full((settings.horizon, batch, settings.keep, mean.shape[-1]), torch.nan)
    best = mean.new_full((batch,), torch.nan)
    return Plan(mean[0].clone(), mean, stddev, best, 0, kept)


def _moved(values: Tensor, tail: Tensor, steps: int) -> Tensor:
    """Drops the first `steps` of [H, ...], and follows the rest by those of a tail."""
    steps = min(steps, len(values))
    return torch.cat([values[steps:], tail[len(values) - steps :]])
