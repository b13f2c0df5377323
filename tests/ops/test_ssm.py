"""Tests the transition without a deterministic path: what it is equal to, and what it refuses."""

from __future__ import annotations

from dataclasses import replace
from types import ModuleType

import pytest
import torch
from ops.tolerances import RETURNS, close, returns_error
from random_weights import TINY, TINY_SSM, make_problem
from torch import Tensor

from planet.latent import LatentState
from planet.noise import Noise
from planet.planning import CEMPlanner, Imagination


@pytest.mark.parametrize("activation", ["relu", "elu"])
def test_an_ssm_is_an_rssm_whose_belief_is_its_input_layer(
    ops: ModuleType, activation: str
) -> None:
    # Update gate 0, so that the belief is tanh(small * x), which is small * x to small^2 / 3.
    ssm, small = make_problem(replace(TINY_SSM, action=4), 2, seed=1, activation=activation), 2**-10
    hidden = ssm.weights.hidden_size
    gates, zeros = torch.zeros(3 * hidden), torch.zeros(2 * hidden, hidden)
    gates[hidden : 2 * hidden] = -200.0  # sigmoid is 0 in float32
    first, *rest = ssm.weights.reward_weights
    weights = replace(
        ssm.weights,
        transition="rssm",
        gru_weight_ih=torch.cat([zeros, small * torch.eye(hidden)]),
        gru_weight_hh=torch.randn(3 * hidden, hidden, generator=ssm.generator) * 0.01,
        gru_bias_ih=gates,
        gru_bias_hh=torch.zeros(3 * hidden),
        prior_hidden_weight=ssm.weights.prior_hidden_weight / small,
        reward_weights=[torch.cat([torch.zeros(len(first), hidden), first], dim=1), *rest],
    )
    weights.gru_weight_hh[2 * hidden :] = 0.0  # nothing of the old belief goes on
    latent = LatentState(torch.full((2, hidden), 0.5), ssm.latent.state)
    actions, noise = ssm.actions(6, 50), ssm.noise(6, 50)
    got = ops.rollout_returns(weights, latent, actions, noise)
    expected = ssm.returns(ops, actions, noise)
    assert returns_error(got, expected) <= 1e-5


@pytest.mark.parametrize("layers", [(), (6, 4)], ids=["linear reward", "deep reward"])
def test_a_step_of_an_ssm_is_four_products(ops: ModuleType, layers: tuple[int, ...]) -> None:
    problem = make_problem(replace(TINY_SSM, reward=layers), 1)
    weights, state = problem.weights, problem.latent.state[0]
    actions, noise = problem.actions(3, 5), problem.noise(3, 5)

    def layer(weight: Tensor, bias: Tensor, x: Tensor) -> Tensor:
        return torch.tensor([(row * x).sum() + b for row, b in zip(weight, bias, strict=True)])

    expected = torch.zeros(1, 5)
    for j in range(5):
        s = state
        for t in range(3):
            x = torch.cat([s, actions[t, 0, j]])
            x = layer(weights.input_weight, weights.input_bias, x).relu()
            p = layer(weights.prior_hidden_weight, weights.prior_hidden_bias, x).relu()
            out = layer(weights.prior_weight, weights.prior_bias, p)
            stddev = (1 + out[3:].exp()).log() + weights.min_stddev
            s = features = out[:3] + stddev * noise[t, 0, j]
            for weight, bias in zip(weights.reward_weights, weights.reward_biases, strict=True):
                features = layer(weight, bias, features)
                features = features if len(features) == 1 else features.relu()
            expected[0, j] += features[0]
    got = ops.rollout_returns(weights, problem.latent, actions, noise)
    assert returns_error(got, expected) <= RETURNS[1.0]


def test_a_start_belief_has_width_0(ops: ModuleType) -> None:
    problem = make_problem(TINY_SSM, 2)
    for belief in (torch.zeros(2, 5), torch.zeros(2, 1)):
        latent = LatentState(belief, problem.latent.state)
        with pytest.raises(ValueError) as error:
            ops.rollout_returns(problem.weights, latent, problem.actions(2, 3), None)
        expected = f"latent.belief: expected shape [2, 0] ([B, D]), got {list(belief.shape)}"
        assert str(error.value) == expected


def test_an_rssm_s_belief_is_not_of_width_0(ops: ModuleType) -> None:
    problem = make_problem(TINY, 2)
    latent = LatentState(problem.latent.belief[:, :0], problem.latent.state)
    with pytest.raises(ValueError) as error:
        ops.rollout_returns(problem.weights, latent, problem.actions(2, 3), None)
    assert str(error.value) == "latent.belief: expected shape [2, 5] ([B, D]), got [2, 0]"


def test_a_planner_plans_in_an_ssm(ops: ModuleType) -> None:
    problem = make_problem(TINY_SSM, 3)
    name = ops.__name__.rpartition(".")[2]
    planner = CEMPlanner(horizon=4, candidates=40, iterations=2, topk=5)
    plan = planner.plan(Imagination(problem.weights, problem.latent, backend=name), seed=3)
    mean, stddev = problem.distribution(4)
    settings = {"seed": 3, "candidates": 40, "topk": 5, "iterations": 2}
    expected = ops.cem_plan(problem.weights, problem.latent, mean, stddev, **settings)
    assert torch.equal(plan.mean, expected.mean)
    own = make_problem(TINY_SSM, 3, candidates=40)
    imagination = Imagination(own.weights, own.latent, backend=name)
    assert planner.plan(imagination).action.shape == (3, 2)


@pytest.mark.parametrize("shape", [(0, 0), (2, 0, 0)], ids=str)
def test_an_empty_start_is_refused(shape: tuple[int, ...]) -> None:
    state = torch.zeros(*shape[:-1], 3)
    with pytest.raises(ValueError) as error:
        Imagination(make_problem(TINY_SSM).weights, LatentState(torch.zeros(shape), state))
    assert str(error.value) == (
        f"latent.belief: expected B >= 1 and J >= 1 in [B, D] or [B, J, D], got {list(shape)}"
    )


def test_nan_starts_of_an_ssm_spoil_only_their_own_candidate(ops: ModuleType) -> None:
    problem = make_problem(TINY_SSM, 2, candidates=20)
    actions = problem.actions(3, 20)
    expected = problem.returns(ops, actions, Noise(1))
    state = problem.latent.state.clone()
    state[1, 7, 2] = float("nan")
    latent = LatentState(problem.latent.belief, state)
    got = ops.rollout_returns(problem.weights, latent, actions, Noise(1))
    assert got[1, 7].isnan()
    assert got.isnan().sum() == 1
    assert close(got.nan_to_num(0.0), torch.where(got.isnan(), 0.0, expected), 0.0)
