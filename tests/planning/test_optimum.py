"""Planners of every kind on a linear-Gaussian model, whose best plans and returns are known."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from linear_model import GAIN, best_plan, best_return, linear_latent, linear_weights
from torch import Tensor

from planet.noise import STREAM_ACTIONS, normals, row_seeds
from planet.planning import (
    CEMPlanner,
    GradientPlanner,
    ICEMPlanner,
    Imagination,
    MPPIPlanner,
    ShootingPlanner,
)
from planet.protocols import Planner

HORIZON = 5
STARTS = torch.tensor([[0.0, 0.1], [-0.3, 0.7], [0.2, 0.2]])
GOALS = torch.tensor([[0.9, -0.7], [0.7, -0.4], [-0.85, 1.0]])
OPTIMUM = best_return(STARTS, GOALS, HORIZON).double()
NEAR: dict[str, Planner] = {
    "cem": CEMPlanner(horizon=HORIZON, candidates=500, iterations=18, topk=40),
    "icem": ICEMPlanner(
        horizon=HORIZON, candidates=300, iterations=20, topk=25, decay=1.03, initial_stddev=1.0
    ),
    "icem, published variance": ICEMPlanner(
        horizon=HORIZON, candidates=300, iterations=20, topk=25, decay=1.03, numerics="icem",
        output="mean",
    ),
    "gradient": GradientPlanner(horizon=HORIZON),
}  # fmt: skip


def imagination(ops: Any, transition: str = "ssm") -> Imagination:
    weights = linear_weights(dims=2, transition=transition)
    start = linear_latent(STARTS, GOALS, transition)
    return Imagination(weights, start, backend=ops.__name__.rpartition(".")[2])


def true_return(actions: Tensor) -> Tensor:
    """Sums the rewards of actions [H, B, A] or [H, B, J, A] without noise, in float64."""
    extra = (slice(None),) + (None,) * (actions.dim() - 3)
    position, goal = STARTS.double()[extra], GOALS.double()[extra]
    total = torch.zeros(actions.shape[1:-1], dtype=torch.float64)
    for action in actions.double():
        position = position + GAIN * action
        total = total - (position - goal).abs().sum(dim=-1)
    return total


def first_draw(candidates: int, seed: int) -> Tensor:
    """Draws the clipped first candidates [H, B, J, A] of a search from mean 0 and stddev 1."""
    seeds = row_seeds(seed, len(STARTS))
    steps = [normals(seeds, candidates, 2, stream=STREAM_ACTIONS, time=t) for t in range(HORIZON)]
    return torch.stack(steps).clamp(-1, 1)


def test_the_best_plan_has_the_best_return() -> None:
    best = best_plan(STARTS, GOALS, HORIZON)
    assert torch.allclose(true_return(best), OPTIMUM, atol=1e-6)
    assert (true_return(first_draw(2000, 0)).amax(dim=1) < OPTIMUM).all()


@pytest.mark.parametrize("name", NEAR)
def test_a_plan_is_within_two_percent_of_the_optimum(ops: Any, name: str) -> None:
    for seed in range(3):
        plan = NEAR[name].plan(imagination(ops), seed)
        behind = (OPTIMUM - true_return(plan.mean)) / OPTIMUM.abs()
        assert behind.min() > -1e-6
        assert behind.max() < 0.02
        assert ((OPTIMUM - plan.best_return) / OPTIMUM.abs()).abs().max() < 0.02


def test_few_rollouts_are_enough_for_icem(ops: Any) -> None:
    """A plan goes on from the one before, and with it the search."""
    few = ICEMPlanner(horizon=HORIZON, candidates=46, iterations=3, topk=10, initial_stddev=1.0)
    cem = CEMPlanner(horizon=HORIZON, candidates=40, iterations=3, topk=10)
    assert few.settings.rollouts == cem.settings.rollouts == 120
    behind = [
        ((OPTIMUM - planner.plan(imagination(ops), 0).best_return) / OPTIMUM.abs()).mean().item()
        for planner in (few, cem)
    ]
    assert behind[0] < behind[1]


@pytest.mark.parametrize("transition", ["rssm", "ssm"])
def test_shooting_is_its_best_first_draw(ops: Any, transition: str) -> None:
    planner = ShootingPlanner(horizon=HORIZON, candidates=200)
    for seed in range(3):
        plan = planner.plan(imagination(ops, transition=transition), seed)
        draws = true_return(first_draw(200, seed))
        assert torch.allclose(true_return(plan.mean), draws.amax(dim=1), atol=3e-3)
        assert torch.equal(plan.action, plan.mean[0])
        assert (true_return(plan.mean) > draws.mean(dim=1)).all()


@pytest.mark.parametrize("transition", ["rssm", "ssm"])
def test_mppi_is_better_than_its_best_first_draw(ops: Any, transition: str) -> None:
    planner = MPPIPlanner(horizon=HORIZON, candidates=200, iterations=6, topk=50, temperature=0.1)
    for seed in range(3):
        plan = planner.plan(imagination(ops, transition=transition), seed)
        draws = true_return(first_draw(200, seed)).amax(dim=1)
        assert (true_return(plan.mean) > draws).all()
        assert (plan.best_return > draws).all()
