"""Warm starts: what a shifted plan holds, and what a plan makes of it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from agents import MakeImagination
from ops.tolerances import same_plan

from planet.planning import CEMPlanner, GradientPlanner, ICEMPlanner, MPPIPlanner, cold, shift
from planet.planning.sampling import SamplingPlanner
from planet.protocols import Plan

SETTINGS: dict[str, Any] = {"horizon": 4, "candidates": 30, "topk": 5, "iterations": 2}
ICEM = ICEMPlanner(**SETTINGS, keep=3)
MPPI = MPPIPlanner(**SETTINGS)
BOX: dict[str, Any] = {"low": [-1.0, 0.0], "high": [1.0, 4.0]}  # its middle is 0 and 2


def numbered(keep: int = 3) -> Plan:
    """A plan of two problems whose every number is another one."""
    mean = torch.arange(16.0).reshape(4, 2, 2)
    kept = 100 + torch.arange(16.0 * keep).reshape(4, 2, keep, 2)
    return Plan(mean[0], mean, mean + 50, torch.tensor([7.0, 8.0]), 2, kept)


@pytest.mark.parametrize("steps", [0, 1, 3])
@pytest.mark.parametrize(("planner", "tail"), [(ICEM, "last"), (MPPI, "middle")], ids=str)
def test_mean_and_kept_move_on_and_the_stddev_starts_anew(
    planner: SamplingPlanner, tail: str, steps: int, imagine: MakeImagination
) -> None:
    keep = planner.settings.keep
    plan, imagination = numbered(keep), imagine(2, **BOX)
    moved = shift(plan, steps, planner, imagination)
    rest = 4 - steps
    assert torch.equal(moved.mean[:rest], plan.mean[steps:])
    end = plan.mean[-1] if tail == "last" else torch.tensor([[0.0, 2.0]] * 2)
    assert torch.equal(moved.mean[rest:], end.expand(steps, 2, 2))
    assert torch.equal(moved.stddev, cold(planner, imagination).stddev)
    assert torch.equal(moved.kept[:rest], plan.kept[steps:])
    assert moved.kept.shape == (4, 2, keep, 2)
    assert moved.kept[rest:].isnan().all()
    assert torch.equal(moved.action, moved.mean[0])
    assert torch.equal(moved.best_return, plan.best_return)


def test_a_plan_that_is_over_leaves_its_tail(imagine: MakeImagination) -> None:
    plan = numbered()
    for steps in (4, 9):
        moved = shift(plan, steps, ICEM, imagine(2, **BOX))
        assert torch.equal(moved.mean, plan.mean[-1].expand(4, 2, 2))
        assert moved.kept.isnan().all()


def test_a_plan_from_a_cold_one_is_a_plan_without_any(imagine: MakeImagination) -> None:
    imagination = imagine(2, **BOX)
    for planner in (ICEM, MPPI):
        warm = cold(planner, imagination)
        expected = planner.plan(imagination, seed=4)
        assert same_plan(planner.plan(imagination, seed=4, warm=warm), expected)


def test_a_row_starts_cold_beside_one_that_is_warm(imagine: MakeImagination) -> None:
    imagination = imagine(2)
    shifted = shift(ICEM.plan(imagination, seed=1), 1, ICEM, imagination)
    none = cold(ICEM, imagination)
    mean, kept = shifted.mean.clone(), shifted.kept.clone()
    mean[:, 1], kept[:, 1] = none.mean[:, 1], none.kept[:, 1]
    mixed = Plan(mean[0], mean, none.stddev, none.best_return, 0, kept)
    got = ICEM.plan(imagination, seed=4, warm=mixed)
    without, warm = ICEM.plan(imagination, seed=4), ICEM.plan(imagination, seed=4, warm=shifted)
    for name in ("action", "best_return"):
        assert torch.equal(getattr(got, name)[0], getattr(warm, name)[0])
        assert torch.equal(getattr(got, name)[1], getattr(without, name)[1])
    for name in ("mean", "stddev", "kept"):
        assert torch.equal(getattr(got, name)[:, 0], getattr(warm, name)[:, 0])
        assert torch.equal(getattr(got, name)[:, 1], getattr(without, name)[:, 1])
    assert not torch.equal(got.mean[:, 0], without.mean[:, 0])


def test_a_warm_plan_starts_from_mean_and_kept_alone(imagine: MakeImagination) -> None:
    """The stddev is always the planner's first; the rest is not read."""
    imagination = imagine(2)
    warm = shift(ICEM.plan(imagination, seed=1), 1, ICEM, imagination)
    other = Plan(warm.action + 1, warm.mean, warm.stddev * 3, warm.best_return + 1, 9, warm.kept)
    expected = ICEM.plan(imagination, seed=4, warm=warm)
    assert same_plan(ICEM.plan(imagination, seed=4, warm=other), expected)
    first = ICEM.plan(imagination, seed=4)
    assert not same_plan(expected, first)
    hidden = Plan(warm.action, warm.mean, warm.stddev, warm.best_return, 0, warm.kept * torch.nan)
    assert not same_plan(ICEM.plan(imagination, seed=4, warm=hidden), expected)


def test_kept_sequences_are_candidates_of_the_next_plan(imagine: MakeImagination) -> None:
    """Without state noise a whole plan that is kept can only be bettered."""
    imagination = imagine(1, state_noise=False)
    planner = ICEMPlanner(**SETTINGS, keep=3)
    plan = planner.plan(imagination, seed=0)
    for seed in range(1, 4):
        after = planner.plan(imagination, seed=seed, warm=plan)
        assert (after.best_return >= plan.best_return).all()
        plan = after


@pytest.mark.parametrize(
    ("make", "kind", "message"),
    [
        (lambda s: shift(numbered(), 1, CEMPlanner(**SETTINGS), s), ValueError,
         "planner.shift: expected one of ['repeat', 'middle'], got 'none'"),
        (lambda s: shift(numbered(), -1, ICEM, s), ValueError, "steps: expected a value >= 0"),
        (lambda s: shift(numbered(), 1.0, ICEM, s), TypeError, "steps: expected an int, got float"),
        (lambda s: shift(numbered(), 1, ICEMPlanner(5), s), ValueError,
         "plan.mean: expected shape [5, 2, 2] ([H, B, A]), got [4, 2, 2]"),
        (lambda s: shift(numbered(), 1, GradientPlanner(), s), TypeError,
         "planner: expected SamplingPlanner, got GradientPlanner"),
        (lambda s: shift(None, 1, ICEM, s), TypeError, "plan: expected Plan, got NoneType"),
        (lambda s: ICEM.plan(s, warm=1), TypeError, "warm: expected Plan, got int"),
        (lambda s: ICEMPlanner(5).plan(s, warm=numbered()), ValueError,
         "warm.mean: expected shape [5, 2, 2] ([H, B, A]), got [4, 2, 2]"),
        (lambda s: ICEM.plan(s, warm=numbered(2)), ValueError,
         "warm.kept: expected shape [4, 2, 3, 2] ([H, B, E, A]), got [4, 2, 2, 2]"),
        (lambda s: CEMPlanner(**SETTINGS).plan(s, warm=numbered()), ValueError,
         "warm.kept: expected shape [4, 2, 0, 2] ([H, B, E, A]), got [4, 2, 3, 2]"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_by_name(
    make: Any, kind: type[Exception], message: str, imagine: MakeImagination
) -> None:
    with pytest.raises(kind) as error:
        make(imagine(2))
    assert str(error.value).startswith(message)
