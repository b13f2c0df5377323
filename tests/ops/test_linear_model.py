"""Tests a linear-Gaussian model, whose returns and best plans have a closed form."""

from __future__ import annotations

import math
from types import ModuleType
from typing import Any

import pytest
import torch
from linear_model import BENT, GAIN, best_plan, best_return, linear_latent, linear_weights
from ops.tolerances import close

from planet.noise import Noise
from planet.protocols import Plan

HORIZON = 5
POSITIONS = torch.tensor([[0.0, 0.0], [0.5, -0.5], [-0.3, 0.7], [0.2, 0.2]])
CLOSE = 0.1  # of ten actions in [-1, 1] after 12 iterations of 500 random candidates
GOALS = torch.tensor([[0.6, -0.4], [0.5, -0.5], [0.4, 0.0], [-0.35, 0.3]])


def linear_plan(
    ops: ModuleType, rows: slice, stddev: float = 0.0, transition: str = "rssm", **change: Any
) -> Plan:
    weights = linear_weights(dims=2, stddev=stddev, transition=transition)
    start, goal = POSITIONS[rows], GOALS[rows]
    mean = torch.zeros(HORIZON, len(start), 2)
    settings = {"seed": 11, "candidates": 500, "topk": 40, "iterations": 12} | change
    plan: Plan = ops.cem_plan(
        weights, linear_latent(start, goal, transition), mean, torch.ones_like(mean), **settings
    )
    return plan


@pytest.mark.parametrize("row", range(4))
@pytest.mark.parametrize("transition", ["rssm", "ssm"])
def test_cem_finds_the_known_optimum(ops: ModuleType, row: int, transition: str) -> None:
    rows = slice(row, row + 1)
    plan = linear_plan(ops, rows, transition=transition)
    optimum = best_plan(POSITIONS[rows], GOALS[rows], HORIZON)
    assert (plan.mean - optimum).abs().max() < CLOSE
    gap_to_best = best_return(POSITIONS[rows], GOALS[rows], HORIZON) - plan.best_return
    assert -BENT[transition] < gap_to_best.item() < 0.05


@pytest.mark.parametrize("transition", ["rssm", "ssm"])
@pytest.mark.parametrize("row", range(4))
def test_cem_finds_the_known_optimum_in_int8(
    int8_ops: ModuleType, row: int, transition: str
) -> None:
    rows = slice(row, row + 1)
    plan = linear_plan(int8_ops, rows, transition=transition, precision="int8")
    assert (plan.mean - best_plan(POSITIONS[rows], GOALS[rows], HORIZON)).abs().max() < CLOSE


def test_each_problem_of_a_batch_finds_its_own_optimum(ops: ModuleType) -> None:
    plan = linear_plan(ops, slice(None))
    optimum = best_plan(POSITIONS, GOALS, HORIZON)
    assert (plan.mean - optimum).abs().max() < CLOSE
    assert plan.action.shape == (4, 2)
    # The problems differ: no row's plan would do for another row.
    distance = (optimum[:, :, None] - optimum[:, None]).abs().amax(dim=(0, 3))
    assert distance[~torch.eye(4, dtype=torch.bool)].min() > 0.3


@pytest.mark.parametrize("transition", ["rssm", "ssm"])
def test_cem_finds_the_optimum_under_state_noise(ops: ModuleType, transition: str) -> None:
    settings = {"candidates": 1000, "topk": 80, "iterations": 8, "transition": transition}
    plan = linear_plan(ops, slice(0, 1), stddev=0.02, **settings)
    optimum = best_plan(POSITIONS[:1], GOALS[:1], HORIZON)
    assert (plan.action - optimum[0]).abs().max() < 0.15


def test_cem_finds_the_optimum_inside_narrower_bounds(ops: ModuleType) -> None:
    plan = linear_plan(ops, slice(0, 1), low=-0.2, high=torch.tensor([0.5, 1.0]))
    # Within 5 steps of 0.25 * 0.5 and 0.25 * -0.2 neither goal, 0.6 and -0.4, is passed by much.
    optimum = torch.tensor([[0.5, -0.2]] * 4)
    assert (plan.mean[:4, 0] - optimum).abs().max() < CLOSE / 4


@pytest.mark.parametrize("transition", ["rssm", "ssm"])
def test_a_linear_gaussian_model_gives_the_closed_form(ops: ModuleType, transition: str) -> None:
    """Position p' = p + gain * a + stddev * w, reward -|p - goal|."""
    weights = linear_weights(dims=2, stddev=0.05, transition=transition)
    start, goal = torch.tensor([[0.0, 0.3], [-0.2, 0.1]]), torch.tensor([[0.6, -0.4], [0.0, 0.2]])
    generator = torch.Generator().manual_seed(0)
    actions = torch.rand(6, 2, 40, 2, generator=generator) * 2 - 1
    noise = torch.randn(6, 2, 40, 4, generator=generator)
    got = ops.rollout_returns(weights, linear_latent(start, goal, transition), actions, noise)
    position, expected = start[:, None].double(), torch.zeros(2, 40, dtype=torch.float64)
    for t in range(6):
        position = position + GAIN * actions[t].double() + 0.05 * noise[t, ..., :2].double()
        expected -= (position - goal[:, None]).abs().sum(dim=-1)
    assert close(got, expected, BENT[transition])


def test_sampled_returns_of_a_linear_gaussian_model_have_its_moments(ops: ModuleType) -> None:
    """Far from the goal |p - goal| is linear, so returns are Gaussian with a known variance."""
    candidates, horizon, stddev = 4000, 5, 0.05
    weights = linear_weights(dims=1, stddev=stddev)
    latent = linear_latent(torch.zeros(1, 1), torch.full((1, 1), -2.0))
    got = ops.rollout_returns(weights, latent, torch.zeros(horizon, 1, candidates, 1), Noise(3))
    # sum over t of (2 + stddev * (w_0 + ... + w_t)): w_k is counted horizon - k times.
    variance = stddev**2 * sum(k**2 for k in range(1, horizon + 1))
    mean, unit = -2.0 * horizon, math.sqrt(variance / candidates)
    assert abs(got.mean().item() - mean) < 4.5 * unit + 3e-3
    assert got.std().item() == pytest.approx(math.sqrt(variance), rel=0.06)
