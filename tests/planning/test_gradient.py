"""`GradientPlanner`: it climbs, keeps the box, and refuses what has no gradients."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from agents import MakeImagination
from linear_model import GAIN, best_return, linear_latent, linear_weights
from ops.tolerances import same_plan
from random_weights import TINY, make_problem
from small_models import frame, make_model
from torch import Tensor

from planet.acting.agent import Agent
from planet.config import GradientConfig, ImaginationConfig
from planet.noise import Noise
from planet.planning import GradientPlanner, Imagination, ShootingPlanner, make_planner

SETTINGS: dict[str, Any] = {"horizon": 4, "candidates": 6, "iterations": 5}
START = torch.tensor([[0.0, 0.1], [0.9, -0.9]])
GOAL = torch.tensor([[0.1, -0.5], [-0.7, 0.3]])


def linear(stddev: float = 0.0, **how: Any) -> Imagination:
    weights = linear_weights(dims=2, stddev=stddev)
    return Imagination(weights, linear_latent(START, GOAL), backend="reference", **how)


def test_it_finds_the_best_plan_of_a_linear_model() -> None:
    plan = GradientPlanner(horizon=4).plan(linear())
    best = best_return(START, GOAL, 4)
    assert ((plan.best_return - best).abs() <= 0.02 * best.abs()).all()
    assert plan.iterations == 60
    assert torch.equal(plan.action, plan.mean[0])
    assert not plan.stddev.any() and plan.kept.shape == (4, 2, 0, 2)


def test_it_climbs_from_the_first_candidates(imagine: MakeImagination) -> None:
    imagination = imagine(3, state_noise=False)
    before = ShootingPlanner(horizon=4, candidates=6).plan(imagination, seed=5)
    plan = GradientPlanner(**SETTINGS).plan(imagination, seed=5)
    assert (plan.best_return > before.best_return).all()


def test_gradients_are_those_of_the_returns() -> None:
    """A step of the linear model moves all the rewards after it, straight towards the goal."""
    imagination = linear()
    actions = torch.full((3, 2, 1, 2), 0.01, requires_grad=True)  # 0 is a corner of the ReLU
    returns = imagination.differentiable_returns(actions, None)
    assert torch.equal(returns, imagination.returns(actions.detach(), None))
    (gradient,) = torch.autograd.grad(returns.sum(), actions)
    rest = torch.tensor([3.0, 2.0, 1.0])[:, None, None, None]
    expected = GAIN * rest * torch.sign(GOAL - START)[:, None]
    assert (gradient - expected).abs().max() < 1e-3


def test_returns_that_have_gradients_are_those_of_the_reference() -> None:
    problem, noise = make_problem(TINY, 2), Noise(7, iteration=3, particle=1)
    imagination = Imagination(problem.weights, problem.latent, backend="reference")
    actions = torch.linspace(-1, 1, 3 * 2 * 5 * TINY.action).reshape(3, 2, 5, -1)
    returns = imagination.differentiable_returns(actions, noise)
    assert torch.equal(returns, imagination.returns(actions, noise))


def test_more_starts_are_no_worse(imagine: MakeImagination) -> None:
    imagination = imagine(2, state_noise=False)
    few, many = (
        GradientPlanner(**(SETTINGS | {"candidates": count})).plan(imagination, seed=1)
        for count in (1, 8)
    )
    assert (many.best_return >= few.best_return - 1e-6).all()


def test_plans_stay_in_the_box_and_a_fixed_action_is_fixed() -> None:
    imagination = linear(low=[-0.2, 0.05], high=[0.1, 0.05])
    plan = GradientPlanner(**SETTINGS, learning_rate=5.0).plan(imagination)
    assert plan.mean[..., 0].min() >= -0.2 and plan.mean[..., 0].max() <= 0.1
    assert (plan.mean[..., 1] == torch.tensor(0.05)).all()


@pytest.mark.parametrize(
    "change",
    [{"horizon": 3}, {"candidates": 2}, {"iterations": 3}, {"learning_rate": 0.01},
     {"initial_stddev": 0.3}],
    ids=str,
)  # fmt: skip
def test_every_setting_changes_the_plan(change: dict[str, Any]) -> None:
    usual = GradientPlanner(**SETTINGS).plan(linear())
    assert not same_plan(GradientPlanner(**(SETTINGS | change)).plan(linear()), usual)


def test_the_seed_decides_and_the_backend_does_not(imagine: MakeImagination) -> None:
    problem, planner = make_problem(TINY, 2), GradientPlanner(**SETTINGS)
    expected = planner.plan(Imagination(problem.weights, problem.latent, backend="reference"), 3)
    assert same_plan(planner.plan(imagine(2), seed=3), expected)
    assert not same_plan(planner.plan(imagine(2), seed=4), expected)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_it_plans_where_gradients_are_off(mode: Any, imagine: MakeImagination) -> None:
    planner, imagination = GradientPlanner(**SETTINGS), imagine(1)
    expected = planner.plan(imagination)
    with mode():
        plan = planner.plan(imagination)
    assert same_plan(plan, expected)
    assert not plan.mean.requires_grad


def test_a_budget_ends_the_climb() -> None:
    planner = GradientPlanner(**SETTINGS)
    assert planner.plan(linear(), budget_ms=1e-6).iterations == 1
    whole = planner.plan(linear())
    assert whole.iterations == 5
    assert same_plan(planner.plan(linear(), budget_ms=1e6), whole)


def test_what_is_not_a_number_loses() -> None:
    class Half(Imagination):
        def differentiable_returns(self, actions: Tensor, noise: Any) -> Tensor:
            returns = super().differentiable_returns(actions, noise)
            return torch.where(actions[0, ..., 0] > 0, returns, torch.nan)

    imagination = linear()
    plan = GradientPlanner(**SETTINGS).plan(
        Half(imagination.weights, imagination.latent, backend="reference")
    )
    assert plan.finite.all() and (plan.action[:, 0] > 0).all()


@pytest.mark.parametrize("backend", ["reference", "fused"])
def test_an_agent_plans_with_it(backend: str, ops: Any) -> None:
    if not ops.__name__.endswith(backend):
        pytest.skip("the fixture has the other backend's turn")
    agent = Agent(
        make_model(), GradientPlanner(horizon=2, candidates=3, iterations=2),
        imagination=ImaginationConfig(backend=backend), low=-0.5,  # type: ignore[arg-type]
    )  # fmt: skip
    agent.reset()
    actions = torch.tensor(agent.act(frame(0)))
    assert actions.min() >= -0.5 and actions.isfinite().all()
    assert agent.planned is not None and agent.planned.iterations == 2


@pytest.mark.parametrize("capture", [False, True])
def test_an_agent_plans_with_it_in_inference_mode(capture: bool) -> None:
    planner = GradientPlanner(horizon=2, candidates=3, iterations=2)
    how = ImaginationConfig(backend="reference")
    agents = [Agent(make_model(), planner, imagination=how, capture=capture) for _ in range(2)]
    for agent in agents:
        agent.reset()
    with torch.inference_mode():
        agents[0].update_weights()
        actions = [agents[0].act(frame(t)).tolist() for t in range(2)]
    assert actions == [agents[1].act(frame(t)).tolist() for t in range(2)]


class Near:
    """Rewards actions near a number; no model, and no more than a scorer has to have."""

    batch_size = 1
    low, high = -torch.ones(1, 2), torch.ones(1, 2)

    def returns(self, actions: Tensor, noise: Any) -> Tensor:
        return -(actions - 0.3).square().sum(dim=(0, 3))

    differentiable_returns = returns


def test_another_scorer_with_gradients_will_do() -> None:
    plan = GradientPlanner(horizon=3).plan(Near())  # type: ignore[arg-type]
    assert (plan.mean - 0.3).abs().max() < 0.05


def test_settings_become_a_planner() -> None:
    config = GradientConfig(
        horizon=3, candidates=4, iterations=5, learning_rate=0.5, initial_stddev=0.7
    )
    assert make_planner(config) == GradientPlanner(3, 4, 5, 0.5, 0.7)


class Opaque:
    """A scorer whose returns come from elsewhere than PyTorch."""

    batch_size = 1
    low = high = torch.zeros(1, 1)

    def returns(self, actions: Tensor, noise: Any) -> Tensor:
        pytest.fail("it was asked")


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: GradientPlanner().plan(Opaque()), TypeError,
         "imagination: expected planet.Imagination, whose returns have gradients, got Opaque"),
        (lambda: GradientPlanner().plan(linear(precision="fp16")), ValueError,
         "imagination.precision: expected 'fp32' for gradients, got 'fp16'"),
        (lambda: GradientPlanner().plan(linear(), warm=GradientPlanner(1, 1, 1).plan(linear())),
         ValueError, "warm: expected None, gradient plans start cold"),
        (lambda: GradientPlanner().plan(linear(), budget_ms=0), ValueError,
         "budget_ms: expected a value > 0, got 0"),
        (lambda: GradientPlanner().plan(linear(), seed="0"), TypeError, "seed: expected an int"),
        (lambda: GradientPlanner(horizon=0), ValueError, "horizon: expected a value >= 1, got 0"),
        (lambda: GradientPlanner(candidates=0), ValueError, "candidates: expected a value >= 1"),
        (lambda: GradientPlanner(iterations=65536), ValueError,
         "iterations: expected a value <= 65535, got 65536"),
        (lambda: GradientPlanner(learning_rate=0.0), ValueError,
         "learning_rate: expected a value > 0, got 0.0"),
        (lambda: GradientPlanner(initial_stddev=-1.0), ValueError, "initial_stddev: expected a"),
    ],
)  # fmt: skip
def test_what_it_cannot_use_is_refused_by_name(
    call: Any, kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind) as error:
        call()
    assert str(error.value).startswith(message)
