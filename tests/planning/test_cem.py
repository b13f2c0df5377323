"""`CEMPlanner`: the op with settings from the middle of the box, and the loop for other scorers."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from agents import MakeImagination
from linear_model import best_plan, linear_latent, linear_weights
from ops.tolerances import PLAN_ABSOLUTE, RETURNS, close, gap, same_plan
from random_weights import TINY, make_problem
from torch import Tensor

from planet.config import CEMConfig
from planet.noise import STREAM_ACTIONS, Noise, normals, row_seeds
from planet.ops import backend
from planet.planning import CEMPlanner, Imagination, make_planner
from planet.protocols import Planner, Scorer

SETTINGS: dict[str, Any] = {"horizon": 4, "candidates": 30, "topk": 5, "iterations": 2}


def test_defaults_are_the_paper_s_and_those_of_the_contract() -> None:
    planner = CEMPlanner()
    sizes = (planner.horizon, planner.candidates, planner.iterations, planner.topk)
    assert sizes == (12, 1000, 10, 100)
    assert planner.initial_stddev == 1.0
    assert planner == CEMPlanner(initial_stddev=1.0)
    op = inspect.signature(backend("reference").cem_plan).parameters
    for name in ("spread", "epsilon"):
        assert getattr(planner, name) == op[name].default


def test_a_plan_is_the_op_from_mean_0_and_the_initial_stddev(
    ops: Any, imagine: MakeImagination
) -> None:
    problem = make_problem(TINY, 3)
    mean, stddev = problem.distribution(4)
    plan = CEMPlanner(**SETTINGS, initial_stddev=0.5).plan(imagine(3), seed=8)
    expected = ops.cem_plan(
        problem.weights, problem.latent, mean, 0.5 * stddev,
        seed=8, candidates=30, topk=5, iterations=2,
    )  # fmt: skip
    assert same_plan(plan, expected)
    assert plan.action.shape == (3, 2)
    assert plan.mean.shape == plan.stddev.shape == (4, 3, 2)
    assert plan.best_return.shape == (3,)
    assert plan.iterations == 2


@pytest.mark.parametrize(
    "change",
    [
        {"horizon": 5}, {"candidates": 60}, {"topk": 6}, {"iterations": 3}, {"initial_stddev": 0.9},
        {"spread": "mean_absolute"}, {"epsilon": 0.1},
    ],
    ids=str,
)  # fmt: skip
def test_every_setting_changes_the_plan(imagine: MakeImagination, change: dict[str, Any]) -> None:
    usual = CEMPlanner(**SETTINGS).plan(imagine(2))
    assert not same_plan(CEMPlanner(**(SETTINGS | change)).plan(imagine(2)), usual)


@pytest.mark.parametrize(
    "change",
    [
        {"low": -0.1}, {"high": 0.1}, {"high": torch.tensor([0.5, 0.1])}, {"state_noise": False},
        {"discount": 0.5},
    ],
    ids=str,
)  # fmt: skip
def test_how_a_model_is_rolled_out_changes_the_plan(
    imagine: MakeImagination, change: dict[str, Any]
) -> None:
    planner = CEMPlanner(**SETTINGS)
    assert not same_plan(planner.plan(imagine(2, **change)), planner.plan(imagine(2)))


def test_a_plan_keeps_nothing_for_the_next_call(imagine: MakeImagination) -> None:
    imagination, planner = imagine(2), CEMPlanner(**SETTINGS)
    first = planner.plan(imagination, seed=3)
    planner.plan(imagination, seed=4)
    assert same_plan(planner.plan(imagination, seed=3), first)


def test_seeds_are_an_int_or_one_per_problem(imagine: MakeImagination) -> None:
    imagination, planner = imagine(2), CEMPlanner(**SETTINGS)
    by_int = planner.plan(imagination, seed=3)
    for seed in (np.int64(3), np.uint8(3), row_seeds(3, 2)):
        assert same_plan(planner.plan(imagination, seed=seed), by_int)
    assert same_plan(planner.plan(imagination), planner.plan(imagination, seed=0))


def test_the_paper_s_planner_solves_a_linear_model(ops: Any) -> None:
    start, goal = torch.tensor([[0.0, 0.1]]), torch.tensor([[0.1, -0.5]])
    planner = CEMPlanner(horizon=4, candidates=400, topk=40, iterations=10)
    model = linear_weights(dims=2), linear_latent(start, goal)
    plan = planner.plan(Imagination(*model, backend=ops.__name__.rpartition(".")[2]))
    assert (plan.mean - best_plan(start, goal, 4)).abs().max() < 0.1


def test_a_budget_ends_a_plan(imagine: MakeImagination) -> None:
    imagination, planner = imagine(1), CEMPlanner(**(SETTINGS | {"iterations": 3}))
    first = planner.plan(imagination, budget_ms=1e-6)
    assert first.iterations == 1
    assert same_plan(first, CEMPlanner(**(SETTINGS | {"iterations": 1})).plan(imagination))
    whole = planner.plan(imagination)
    assert whole.iterations == 3
    assert same_plan(planner.plan(imagination, budget_ms=1e6), whole)


def test_a_float64_default_dtype_does_not_disturb_a_plan(imagine: MakeImagination) -> None:
    planner, imagination = CEMPlanner(**SETTINGS), imagine(1)
    expected = planner.plan(imagination)
    torch.set_default_dtype(torch.float64)
    try:
        plan = planner.plan(imagination)
    finally:
        torch.set_default_dtype(torch.float32)
    assert same_plan(plan, expected)


# ---- The loop ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Plain:
    """A scorer of no kind that the planner knows."""

    inside: Scorer

    @property
    def batch_size(self) -> int:
        return self.inside.batch_size

    @property
    def low(self) -> Tensor:
        return self.inside.low

    @property
    def high(self) -> Tensor:
        return self.inside.high

    def returns(self, actions: Tensor, noise: Noise | Tensor | None) -> Tensor:
        return self.inside.returns(actions, noise)


@pytest.mark.parametrize("spread", ["population", "mean_absolute"])
@pytest.mark.parametrize("state_noise", [True, False])
def test_loop_and_op_of_the_reference_are_equal_bit_for_bit(spread: str, state_noise: bool) -> None:
    problem = make_problem(TINY, 3)
    planner = CEMPlanner(**SETTINGS, initial_stddev=0.7, spread=spread)
    imagination = Imagination(
        problem.weights, problem.latent, backend="reference", low=[-1.0, -0.5], high=0.8,
        state_noise=state_noise, discount=0.9,
    )  # fmt: skip
    expected = planner.plan(imagination, seed=5)
    looped = planner.plan(Plain(imagination), seed=5)
    assert same_plan(looped, expected)
    assert looped.iterations == expected.iterations


def test_loop_and_op_agree_iteration_by_iteration(imagine: MakeImagination) -> None:
    """From the same mean and stddev, where the elites are the same beyond doubt."""
    imagination, planner = imagine(1), CEMPlanner(**(SETTINGS | {"iterations": 1}))
    compared = 0
    for seed in range(8):
        seeds = row_seeds(seed, 1)
        draw = torch.stack([normals(seeds, 30, 2, stream=STREAM_ACTIONS, time=t) for t in range(4)])
        returns = imagination.returns(draw.clamp(-1, 1), Noise(seeds))
        if gap(returns, 5) <= 4 * RETURNS[1.0]:
            continue
        op, loop = planner.plan(imagination, seeds), planner.plan(Plain(imagination), seeds)
        close(op.mean, loop.mean, PLAN_ABSOLUTE)
        close(op.stddev, loop.stddev, PLAN_ABSOLUTE)
        compared += 1
    assert compared >= 3


def test_the_loop_ranks_what_is_not_a_number_last() -> None:
    problem = make_problem(TINY, 1)
    imagination = Imagination(problem.weights, problem.latent, backend="reference")

    class Half(Plain):
        def returns(self, actions: Tensor, noise: Noise | Tensor | None) -> Tensor:
            scores = super().returns(actions, noise)
            return torch.where(actions[0, ..., 0] > 0, scores, torch.nan)

    plan = CEMPlanner(**SETTINGS).plan(Half(imagination))
    assert plan.finite.all()
    assert (plan.mean[0, :, 0] > 0).all()


# ---- Settings and errors -------------------------------------------------------------------------


def test_settings_become_a_planner_field_by_field() -> None:
    config = CEMConfig(
        horizon=3, candidates=50, iterations=4, topk=7, initial_stddev=0.5, spread="mean_absolute",
        epsilon=0.1,
    )  # fmt: skip
    planner: Planner = make_planner(config)
    assert planner == CEMPlanner(3, 50, 4, 7, 0.5, "mean_absolute", 0.1)


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        ({"horizon": 0}, ValueError, "horizon: expected a value >= 1, got 0"),
        ({"horizon": 65536}, ValueError, "horizon: expected a value <= 65535, got 65536"),
        ({"horizon": 2.0}, TypeError, "horizon: expected an int, got float"),
        ({"candidates": 0}, ValueError, "candidates: expected a value >= 1, got 0"),
        ({"topk": 1001}, ValueError, "topk: expected 1 <= K <= J=1000, got 1001"),
        ({"iterations": 0}, ValueError, "iterations: expected a value >= 1, got 0"),
        ({"spread": "range"}, ValueError,
         "spread: expected one of ['population', 'mean_absolute'], got 'range'"),
        ({"epsilon": -1.0}, ValueError, "epsilon: expected a value >= 0, got -1.0"),
        ({"initial_stddev": -1.0}, ValueError,
         "initial_stddev: expected a finite float32 value >= 0, got -1.0"),
        ({"initial_stddev": float("nan")}, ValueError,
         "initial_stddev: expected a finite float32 value >= 0, got nan"),
    ],
)  # fmt: skip
def test_a_bad_planner_is_refused_when_it_is_made(
    change: dict[str, Any], kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind) as error:
        CEMPlanner(**change)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        ({"seed": True}, TypeError, "seed: expected an int or an int64 tensor [B=2], got bool"),
        ({"seed": "0"}, TypeError, "seed: expected an int or an int64 tensor [B=2], got str"),
        ({"budget_ms": 0}, ValueError, "budget_ms: expected a value > 0, got 0"),
        ({"warm": 1}, TypeError, "warm: expected Plan, got int"),
    ],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("plain", [False, True])
def test_bad_arguments_of_plan_are_named(
    imagine: MakeImagination,
    arguments: dict[str, Any],
    kind: type[Exception],
    message: str,
    plain: bool,
) -> None:
    scorer = Plain(imagine(2)) if plain else imagine(2)
    with pytest.raises(kind) as error:
        CEMPlanner(**SETTINGS).plan(scorer, **arguments)
    assert str(error.value) == message


def test_weights_alone_are_no_scorer() -> None:
    with pytest.raises(TypeError) as error:
        CEMPlanner().plan(make_problem(TINY, 1).weights)  # type: ignore[arg-type]
    expected = "imagination: expected planet.Imagination or another scorer, got RolloutWeights"
    assert str(error.value) == expected


def test_bounds_of_another_scorer_are_checked(imagine: MakeImagination) -> None:
    class Wide(Plain):
        @property
        def low(self) -> Tensor:
            return self.inside.low.double() * 0.5

        @property
        def high(self) -> Tensor:
            return self.inside.high * sign

    sign = 1.0
    assert CEMPlanner(**SETTINGS).plan(Wide(imagine(2))).mean.dtype == torch.float32
    sign = -1.0
    with pytest.raises(ValueError, match="low: expected values <= high, got -0.5 above -1.0"):
        CEMPlanner(**SETTINGS).plan(Wide(imagine(2)))
