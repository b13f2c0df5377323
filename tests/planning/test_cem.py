"""`CEMPlanner`: the op with settings, from the middle of its box at every call."""

from __future__ import annotations

import inspect
import pickle
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from linear_model import GAIN, best_plan, linear_latent, linear_weights
from ops.fused_support import needs_extension
from random_weights import TINY, make_problem

from planet.config import ImaginationConfig, PlannerConfig
from planet.latent import LatentState
from planet.noise import row_seeds
from planet.ops import backend
from planet.ops.variants import cuda_variant
from planet.planning import CEMPlanner
from planet.protocols import Plan
from planet.weights import RolloutWeights

SETTINGS: dict[str, Any] = {"horizon": 4, "candidates": 30, "topk": 5, "iterations": 2}


@pytest.fixture
def make_planner(ops: Any) -> Callable[..., CEMPlanner]:
    """A small planner of each backend."""
    name = ops.__name__.rpartition(".")[2]
    return lambda **change: CEMPlanner(**({"backend": name} | SETTINGS | change))


def equal(a: Plan, b: Plan) -> bool:
    names = ("action", "mean", "stddev", "best_return")
    return all(torch.equal(getattr(a, name), getattr(b, name)) for name in names)


def test_defaults_are_the_paper_s_and_those_of_the_contract() -> None:
    planner = CEMPlanner()
    sizes = (planner.horizon, planner.candidates, planner.iterations, planner.topk)
    assert sizes == (12, 1000, 10, 100)
    assert planner.backend == "fused"
    assert (planner.initial_stddev, planner.low, planner.high) == (1.0, -1.0, 1.0)
    op = inspect.signature(backend("reference").cem_plan).parameters
    shared = {"low", "high", "spread", "epsilon", "state_noise", "discount", "precision"}
    for name in (*shared, "budget_ms"):
        assert getattr(planner, name) == op[name].default


def test_a_plan_is_the_op_from_mean_0_and_the_initial_stddev(
    ops: Any, make_planner: Callable[..., CEMPlanner]
) -> None:
    problem = make_problem(TINY, 3)
    mean, stddev = problem.distribution(4)
    plan = make_planner(initial_stddev=0.5).plan(problem.weights, problem.latent, seed=8)
    expected = ops.cem_plan(
        problem.weights, problem.latent, mean, 0.5 * stddev,
        seed=8, candidates=30, topk=5, iterations=2,
    )  # fmt: skip
    assert equal(plan, expected)
    assert plan.action.shape == (3, 2)
    assert plan.mean.shape == plan.stddev.shape == (4, 3, 2)
    assert plan.best_return.shape == (3,)
    assert plan.iterations == 2


@pytest.mark.parametrize(
    "change",
    [
        {"horizon": 5}, {"candidates": 60}, {"topk": 6}, {"iterations": 3}, {"initial_stddev": 0.9},
        {"low": -0.1}, {"high": 0.1}, {"high": torch.tensor([0.5, 0.1])},
        {"spread": "mean_absolute"}, {"epsilon": 0.1}, {"state_noise": False}, {"discount": 0.5},
    ],
    ids=str,
)  # fmt: skip
def test_every_setting_changes_the_plan(
    make_planner: Callable[..., CEMPlanner], change: dict[str, Any]
) -> None:
    problem = make_problem(TINY, 2)
    usual = make_planner().plan(problem.weights, problem.latent)
    assert not equal(make_planner(**change).plan(problem.weights, problem.latent), usual)


def test_a_plan_keeps_nothing_for_the_next_call(make_planner: Callable[..., CEMPlanner]) -> None:
    problem, planner = make_problem(TINY, 2), make_planner()
    first = planner.plan(problem.weights, problem.latent, seed=3)
    planner.plan(problem.weights, problem.latent, seed=4)
    assert equal(planner.plan(problem.weights, problem.latent, seed=3), first)


def test_seeds_are_an_int_or_one_per_problem(make_planner: Callable[..., CEMPlanner]) -> None:
    problem, planner = make_problem(TINY, 2), make_planner()
    by_int = planner.plan(problem.weights, problem.latent, seed=3)
    for seed in (np.int64(3), np.uint8(3)):
        assert equal(planner.plan(problem.weights, problem.latent, seed=seed), by_int)
    assert equal(planner.plan(problem.weights, problem.latent, seed=row_seeds(3, 2)), by_int)
    assert equal(
        planner.plan(problem.weights, problem.latent),
        planner.plan(problem.weights, problem.latent, seed=0),
    )


def test_the_paper_s_planner_solves_a_linear_model(make_planner: Callable[..., CEMPlanner]) -> None:
    start, goal = torch.tensor([[0.0, 0.1]]), torch.tensor([[0.1, -0.5]])
    planner = make_planner(horizon=4, candidates=400, topk=40, iterations=10)
    plan = planner.plan(linear_weights(dims=2), linear_latent(start, goal))
    assert (plan.mean - best_plan(start, goal, 4)).abs().max() < 0.1


# ---- The box of actions ------------------------------------------------------------------------

LARGEST = float(np.finfo(np.float32).max)


def distance_to(goal: float) -> tuple[RolloutWeights, LatentState]:
    """One action, one step: reward -|action - goal|."""
    start = torch.tensor([[0.0]]), torch.tensor([[goal * GAIN]])
    weights = linear_weights(dims=1, transition="ssm")
    scaled = [weights.reward_weights[0], weights.reward_weights[1] / GAIN]
    return replace(weights, reward_weights=scaled), linear_latent(*start, transition="ssm")


@pytest.mark.parametrize(
    ("low", "high", "goal"),
    [
        (10.0, 20.0, 15.0), (0.0, 30.0, 15.0), (14.0, 16.0, 15.0), (-1.0, 1.0, 0.3),
        (-300, -100, -150.0), (np.float64(14), [16], 15.0), (torch.tensor([10.0]), 20.0, 15.0),
        (np.array([[10]]), torch.tensor([20], dtype=torch.int32), 15.0),
    ],
    ids=str,
)  # fmt: skip
def test_a_plan_reaches_a_goal_anywhere_in_its_box(
    ops: Any, low: Any, high: Any, goal: float
) -> None:
    planner = CEMPlanner(horizon=1, backend=ops.__name__.rpartition(".")[2], low=low, high=high)
    for seed in range(3):
        plan = planner.plan(*distance_to(goal), seed=seed)
        assert abs(plan.action.item() - goal) < 0.05
        assert plan.stddev.item() < 0.05


def test_the_first_candidates_fill_the_box(make_planner: Callable[..., CEMPlanner]) -> None:
    """Mean and stddev of a dimension's uniform elites are those of the clipped distribution."""
    low, high = torch.tensor([[10.0, -4.0], [0.0, 3.0]]), torch.tensor([[20.0, 4.0], [2.0, 3.0]])
    middle, half = (low + high) / 2, (high - low) / 2
    mean, stddev = (
        CEMPlanner(low=low, high=high)
        .box(torch.device("cpu"))
        .distribution((3, 2, 2), 0.5, torch.device("cpu"))
    )
    assert torch.equal(mean, middle.expand(3, 2, 2))
    assert torch.equal(stddev, (half * 0.5).expand(3, 2, 2))
    problem, settings = make_problem(TINY, 2), {"candidates": 2000, "topk": 2000, "iterations": 1}
    plan = make_planner(low=low, high=high, **settings).plan(problem.weights, problem.latent)
    assert ((plan.mean - middle).abs() <= 0.1 * half).all()
    assert ((plan.stddev - 0.72 * half).abs() <= 0.05 * half + 1.1e-3).all()  # clipped at 1 sigma


@pytest.mark.parametrize(
    ("low", "high"),
    [
        (-LARGEST, LARGEST), (LARGEST, LARGEST), (0.99 * LARGEST, LARGEST), (1e-45, 1e-45),
        (0.0, 1e-45), (0.1, 0.1), (1.0, np.nextafter(np.float32(1.0), np.float32(2.0))),
    ],
)  # fmt: skip
@pytest.mark.parametrize("tensors", [False, True])
def test_huge_and_tiny_boxes_hold_their_plans(
    make_planner: Callable[..., CEMPlanner], low: float, high: float, tensors: bool
) -> None:
    problem = make_problem(TINY, 1)
    bounds = {"low": low, "high": [high] * 2} if tensors else {"low": low, "high": high}
    planner = make_planner(initial_stddev=2.0, **bounds)
    mean = planner.plan(problem.weights, problem.latent).mean.numpy()
    assert (np.float32(low) <= mean).all()
    assert (mean <= np.float32(high)).all()
    if low == high:
        assert (mean == np.float32(low)).all()


def test_a_planner_keeps_its_own_copy_of_bounds(make_planner: Callable[..., CEMPlanner]) -> None:
    problem = make_problem(TINY, 1)
    for bound in (np.array([0.5, 0.1], np.float32), torch.tensor([0.5, 0.1])):
        planner = make_planner(high=bound)
        before = planner.plan(problem.weights, problem.latent)
        bound[:] = float("nan")
        assert equal(planner.plan(problem.weights, problem.latent), before)


def test_a_box_is_where_its_bounds_on_a_device_are() -> None:
    there, meta = torch.zeros(2, device="meta"), torch.device("meta")
    for bounds in ({"low": there, "high": [1.0, 2.0]}, {"low": [[-1.0, -1.0]], "high": there}):
        parts = CEMPlanner(**bounds).box(meta)._parts()  # type: ignore[arg-type]
        assert {part.device for part in parts} == {meta}  # type: ignore[union-attr]


def test_a_pickle_leaves_copies_on_other_devices_behind() -> None:
    planner = CEMPlanner(low=[1.0, 2.0], high=3.0)
    planner.box(torch.device("meta"))
    assert list(pickle.loads(pickle.dumps(planner))._boxes) == [torch.device("cpu")]


def test_bounds_of_another_size_are_named(make_planner: Callable[..., CEMPlanner]) -> None:
    problem = make_problem(TINY, 2)
    for high in ([1.0] * 3, [[1.0, 1.0]] * 3, [1.0]):
        with pytest.raises(ValueError, match=r"^high: expected a float or shape \[A=2\] or \[B=2"):
            make_planner(high=high).plan(problem.weights, problem.latent)


# ---- What is passed on -------------------------------------------------------------------------


def test_a_budget_is_passed_on(make_planner: Callable[..., CEMPlanner]) -> None:
    problem = make_problem(TINY, 1)
    planner = make_planner(iterations=1000, budget_ms=1e-6)
    assert planner.plan(problem.weights, problem.latent).iterations == 1


def test_the_budget_of_a_call_comes_before_that_of_the_planner(
    make_planner: Callable[..., CEMPlanner],
) -> None:
    problem = make_problem(TINY, 1)
    unhurried, hurried = make_planner(iterations=3), make_planner(iterations=3, budget_ms=1e-6)
    whole = unhurried.plan(problem.weights, problem.latent)
    assert whole.iterations == 3
    first = unhurried.plan(problem.weights, problem.latent, budget_ms=1e-6)
    assert equal(first, make_planner(iterations=1).plan(problem.weights, problem.latent))
    assert first.iterations == 1
    assert equal(hurried.plan(problem.weights, problem.latent, budget_ms=1e6), whole)
    with pytest.raises(ValueError, match="budget_ms: expected a value > 0 or None, got 0"):
        unhurried.plan(problem.weights, problem.latent, budget_ms=0)


def test_a_planner_is_tried_out_with_its_settings(make_planner: Callable[..., CEMPlanner]) -> None:
    weights = make_problem(TINY, 1).weights
    large: dict[str, Any] = {"horizon": 10_000, "candidates": 10**6, "iterations": 1000}
    for low in (-1.0, [-1.0, -2.0], [[-1.0, -2.0], [0.0, 0.5]]):
        make_planner(low=low, **large).try_out(weights)
    with pytest.raises(ValueError, match="precision: .*'fp4'"):
        make_planner(precision="fp4").try_out(weights)


@needs_extension
def test_the_planner_s_variant_comes_before_that_of_the_context() -> None:
    problem, planner = make_problem(TINY, 1), CEMPlanner(**SETTINGS)
    usual = planner.plan(problem.weights, problem.latent)
    refused = pytest.raises(ValueError, match="variant: 'persistent' needs tensors on a CUDA devi")
    with refused:
        replace(planner, variant="persistent").plan(problem.weights, problem.latent)
    with cuda_variant("persistent"):
        with refused:
            planner.plan(problem.weights, problem.latent)
        named = replace(planner, variant="portable")
        assert equal(named.plan(problem.weights, problem.latent), usual)
    assert equal(planner.plan(problem.weights, problem.latent), usual)


def test_a_float64_default_dtype_does_not_disturb_a_plan(
    make_planner: Callable[..., CEMPlanner],
) -> None:
    problem, planner = make_problem(TINY, 1), make_planner()
    expected = planner.plan(problem.weights, problem.latent)
    torch.set_default_dtype(torch.float64)
    try:
        plan = planner.plan(problem.weights, problem.latent)
    finally:
        torch.set_default_dtype(torch.float32)
    assert equal(plan, expected)


def test_settings_become_a_planner_field_by_field() -> None:
    config = PlannerConfig(
        horizon=3, candidates=50, iterations=4, topk=7, initial_stddev=0.5, spread="mean_absolute",
        epsilon=0.1, low=-0.5, high=0.5, budget_ms=20.0,
    )  # fmt: skip
    imagination = ImaginationConfig(
        precision="int8", variant="persistent", state_noise=False, discount=0.9
    )
    planner = CEMPlanner.from_config(config, imagination)
    for name, value in {**vars(config), **vars(imagination)}.items():
        assert getattr(planner, name) == value


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        ({"backend": "cuda"}, ValueError,
         "backend: expected one of ['fused', 'reference'], got 'cuda'"),
        ({"horizon": 0}, ValueError, "horizon: expected a value >= 1, got 0"),
        ({"horizon": 65536}, ValueError, "horizon: expected a value <= 65535, got 65536"),
        ({"horizon": 2.0}, TypeError, "horizon: expected an int, got float"),
        ({"initial_stddev": -1.0}, ValueError,
         "initial_stddev: expected a finite float32 value >= 0, got -1.0"),
        ({"initial_stddev": float("nan")}, ValueError,
         "initial_stddev: expected a finite float32 value >= 0, got nan"),
        ({"variant": "fast"}, ValueError,
         "variant: expected one of ['portable', 'persistent'], got 'fast'"),
        ({"variant": "portable", "backend": "reference"}, ValueError,
         "variant: expected None with backend='reference', got 'portable'"),
        ({"low": 1.0, "high": 0.0}, ValueError, "low: expected a value <= high=0.0, got 1.0"),
        ({"low": np.array([0.0, np.nan])}, ValueError,
         "low: expected finite float32 values, got nan at [1]"),
        ({"low": [0.0, 2.0]}, ValueError,
         "low: expected values <= high, got 2.0 above 1.0 at [1]"),
        ({"initial_stddev": None}, TypeError, "initial_stddev: expected a float, got NoneType"),
    ],
)  # fmt: skip
def test_a_bad_planner_is_refused_when_it_is_made(
    change: dict[str, Any], kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind) as error:
        CEMPlanner(**change)
    assert str(error.value) == message


def test_bad_arguments_of_plan_are_named(make_planner: Callable[..., CEMPlanner]) -> None:
    problem, planner = make_problem(TINY, 2), make_planner()
    latent = problem.latent
    for arguments, kind, message in (
        ((None, latent), TypeError, "weights: expected RolloutWeights, got NoneType"),
        ((problem.weights, latent.belief), TypeError, "latent: expected LatentState, got Tensor"),
        ((problem.weights, LatentState(latent.belief, latent.state[:1])), ValueError,
         "latent.state: expected shape [2, 3] ([B, S]), got [1, 3]"),
        ((problem.weights, LatentState(torch.tensor(0.0), latent.state)), ValueError,
         "latent.belief: expected shape [B, D] or [B, J, D], got []"),
        ((problem.weights, LatentState(latent.belief[:0], latent.state[:0])), ValueError,
         "latent.belief: expected sizes >= 1 in [B, D] or [B, J, D], got [0, 5]"),
        ((problem.weights, latent, True), TypeError,
         "seed: expected an int or an int64 tensor [B=2], got bool"),
        ((problem.weights, latent, "0"), TypeError,
         "seed: expected an int or an int64 tensor [B=2], got str"),
    ):  # fmt: skip
        with pytest.raises(kind) as error:
            planner.plan(*arguments)
        assert str(error.value) == message
