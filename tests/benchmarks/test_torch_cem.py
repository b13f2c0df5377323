"""The speed baseline computes what the planner computes."""

from __future__ import annotations

import pytest
import torch
from ops.tolerances import RETURNS, returns_error
from random_weights import PRESET_SIZES, TINY, Sizes, make_problem
from torch_cem import TorchCEM

from planet.ops import reference


@pytest.mark.parametrize("form", ["eager", "jit"])
@pytest.mark.parametrize("activation", ["relu", "elu"])
@pytest.mark.parametrize("sizes", [TINY, *PRESET_SIZES.values()], ids=str)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_rollout_equals_the_reference(form: str, activation: str, sizes: Sizes) -> None:
    problem = make_problem(sizes, batch=2, activation=activation)
    actions, noise = problem.actions(5, 30), problem.noise(5, 30)
    expected = reference.rollout_returns(problem.weights, problem.latent, actions, noise)
    got = TorchCEM(problem.weights, form).rollout(problem.latent, actions, noise)
    assert returns_error(got, expected) <= RETURNS[1.0]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_baseline_plans_as_well_as_the_planner() -> None:
    problem = make_problem(PRESET_SIZES["small"], batch=1)
    settings = {"candidates": 200, "topk": 20, "iterations": 8}
    torch.manual_seed(0)
    baseline = TorchCEM(problem.weights).plan(problem.latent, horizon=6, **settings)
    mean, stddev = problem.distribution(6)
    plan = reference.cem_plan(problem.weights, problem.latent, mean, stddev, seed=0, **settings)

    def score(mean: torch.Tensor) -> float:
        returns = reference.rollout_returns(problem.weights, problem.latent, mean[:, :, None], None)
        return returns.item()

    still = score(torch.zeros_like(mean))
    gain, expected = score(baseline.mean) - still, score(plan.mean) - still
    assert expected > 0
    assert gain > 0.7 * expected  # both optimise noisy returns of the same model
