"""Compares bf16 products of the compiled core with the reference and with float64."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from ops.fused_support import each_set_of, isa, needs_extension
from ops.oracle import exact_returns
from ops.tolerances import (
    BF16_ELITES,
    BF16_OVER_FORMAT,
    BF16_RANKS,
    HALF_ELITES,
    HALF_L2,
    HALF_MEDIAN,
    bf16_bounds,
    common_elites,
    half_errors,
    rank_correlation,
    relative_l2,
    returns_error,
    same_plan,
)
from random_weights import PRESET_SIZES, TINY, TINY_SSM, Problem, Sizes, make_problem
from torch import Tensor

from planet.latent import LatentState
from planet.noise import Noise
from planet.ops import fused, reference

pytestmark = needs_extension
each_set = each_set_of("bf16")
FORMS = pytest.mark.parametrize(("activation", "stddev"), [("relu", "add"), ("elu", "clamp")])
PAPER = PRESET_SIZES["paper"]

# Around pairs and 16 or 32 of them, with the places that a bias takes; 1 to 4 reward layers.
SIZES = [
    *PRESET_SIZES.values(),
    TINY,
    TINY_SSM,
    Sizes(1, 1, 1, 1, ()),
    Sizes(2, 2, 1, 2, (1,)),
    Sizes(15, 16, 17, 31, (15, 2)),
    Sizes(16, 15, 14, 32, (16, 17, 31)),
    Sizes(17, 31, 1, 33, (33,)),
    Sizes(31, 3, 33, 15, (30, 28)),
    Sizes(64, 30, 2, 65, (61, 60, 59)),
    Sizes(3, 2, 512, 8, ()),
    Sizes(512, 512, 2, 512, (512,)),
    Sizes(0, 1, 1, 1, ()),
    Sizes(0, 33, 30, 200, (200, 200)),
    Sizes(0, 512, 3, 9, (4, 5)),
]
# Around 16 lanes and panels of 2 to 4 vectors.
CANDIDATES = [1, 2, 3, 5, 15, 16, 17, 31, 32, 33, 47, 48, 49, 63, 64, 65, 100, 129]


def both(name: str, problem: Problem, *inputs: Any, **settings: Any) -> tuple[Tensor, Tensor]:
    """Returns [B, J] in bf16 of one instruction set, and of the reference."""
    with isa(name):
        got = problem.returns(fused, *inputs, precision="bf16", **settings)
    return got, problem.returns(reference, *inputs, precision="bf16", **settings)


def check(got: Tensor, expected: Tensor, *, functions: bool = True) -> None:
    """Checks that they differ by float32's errors, but for operands that lie next to a tie."""
    assert got.shape == expected.shape
    median, rms = half_errors(got, expected)
    median_bound, rms_bound = bf16_bounds(functions)
    assert median <= median_bound
    assert rms <= rms_bound


# --- The reference --------------------------------------------------------------------------------


@each_set
@FORMS
@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_returns_equal_the_reference(name: str, sizes: Sizes, activation: str, stddev: str) -> None:
    problem = make_problem(sizes, batch=2, activation=activation, stddev=stddev)
    actions = problem.actions(3, 131)
    check(*both(name, problem, actions, Noise(7, iteration=2, particle=1)))
    check(*both(name, problem, actions, None), functions=sizes.belief > 0)


@each_set
@pytest.mark.parametrize("scale", [1.0, 2.0])
@pytest.mark.parametrize("sizes", [TINY, TINY_SSM, Sizes(33, 7, 3, 20, (31,))], ids=str)
def test_every_kind_of_noise_discount_and_horizon_equals_the_reference(
    name: str, sizes: Sizes, scale: float
) -> None:
    problem = make_problem(sizes, batch=2, scale=scale, seed=4)
    for horizon in (1, 2, 5):
        actions = problem.actions(horizon, 57)
        for noise in (None, problem.noise(horizon, 57), Noise(3)):
            for discount in (1.0, 0.9, 0.0):
                got, expected = both(name, problem, actions, noise, discount=discount)
                check(got, expected, functions=sizes.belief > 0 or noise is not None)


@each_set
def test_any_number_of_candidates_equals_the_reference(name: str) -> None:
    problem = make_problem(PRESET_SIZES["small"], batch=1, seed=2)
    for candidates in CANDIDATES:
        got, expected = both(name, problem, problem.actions(2, candidates), Noise(11))
        assert half_errors(got, expected)[1] <= bf16_bounds()[1], candidates


@each_set
@pytest.mark.parametrize("activation", ["relu", "elu"])
@pytest.mark.parametrize("size", ["paper", "small"])
def test_starts_outside_one_and_per_candidate_equal_the_reference(
    name: str, size: str, activation: str
) -> None:
    problem = make_problem(PRESET_SIZES[size], 2, activation=activation, candidates=50)
    latent = LatentState(problem.latent.belief * 5.0, problem.latent.state * 3.0)
    got, expected = both(name, replace(problem, latent=latent), problem.actions(3, 50), Noise(1))
    check(got, expected)


# --- Near float64 ---------------------------------------------------------------------------------


@each_set
@pytest.mark.parametrize("gain", [1.0, 2.0, 3.0])
@pytest.mark.parametrize(
    ("sizes", "activation"),
    [(PAPER, "relu"), (PRESET_SIZES["small"], "elu"), (replace(PAPER, belief=0), "relu")],
    ids=["paper", "small", "ssm"],
)
def test_returns_and_elites_are_near_those_of_float64(
    name: str, sizes: Sizes, activation: str, gain: float,
    report_error: Callable[[str, float, float], None],
) -> None:  # fmt: skip
    problem = make_problem(sizes, 1, seed=5, scale=gain, activation=activation)
    actions, noise = problem.actions(12, 1000), problem.noise(12, 1000)
    exact = exact_returns(problem.weights, problem.latent, actions, noise)
    with isa(name):
        got = problem.returns(fused, actions, noise, precision="bf16")
    report_error("relative L2", relative_l2(got, exact), HALF_L2["bf16"][gain])
    assert common_elites(got, exact) >= HALF_ELITES["bf16"][gain]
    assert relative_l2(got, exact) > 1e-4  # it is not float32


@each_set
@pytest.mark.parametrize("seed", [5, 21])  # 0.7e-3 and 3.6e-3 is what the format leaves of them
def test_the_paper_s_size_is_as_near_to_float64_as_the_format_allows(
    name: str, seed: int, report_error: Callable[[str, float, float], None]
) -> None:
    problem = make_problem(PAPER, 1, seed=seed)
    actions, noise = problem.actions(12, 1000), problem.noise(12, 1000)
    exact = exact_returns(problem.weights, problem.latent, actions, noise)
    of_the_format = relative_l2(problem.returns(reference, actions, noise, precision="bf16"), exact)
    with isa(name):
        got = problem.returns(fused, actions, noise, precision="bf16")
    report_error("relative L2", relative_l2(got, exact), BF16_OVER_FORMAT * of_the_format)
    assert common_elites(got, exact) >= BF16_ELITES
    assert rank_correlation(got, exact) >= BF16_RANKS


@each_set
@pytest.mark.parametrize("power", [-100, -30, -1, 7, 30, 90])
def test_a_power_of_two_taken_from_a_relu_layer_to_the_next_changes_nothing(
    name: str, power: int
) -> None:
    problem = make_problem(PRESET_SIZES["small"], 2)
    w, actions, factor = problem.weights, problem.actions(4, 30), 2.0**power
    changed = replace(
        w,
        input_weight=w.input_weight * factor,
        input_bias=w.input_bias * factor,
        gru_weight_ih=w.gru_weight_ih / factor,
    )
    with isa(name):
        got, expected = (
            fused.rollout_returns(x, problem.latent, actions, None, precision="bf16")
            for x in (changed, w)
        )
    assert returns_error(got, expected) <= HALF_MEDIAN


# --- Plans ----------------------------------------------------------------------------------------


@each_set
def test_a_plan_in_bf16_is_near_the_plan_in_float32(name: str) -> None:
    problem = make_problem(PRESET_SIZES["paper"], batch=2)
    settings = {"horizon": 6, "candidates": 301, "topk": 30, "iterations": 3}
    with isa(name):
        plans = {
            (precision, seed): problem.plan(fused, precision=precision, seed=seed, **settings)
            for precision in ("fp32", "bf16")
            for seed in (0, 1)
        }
    rounding = (plans["bf16", 0].mean - plans["fp32", 0].mean).abs().mean()
    sampling = (plans["fp32", 1].mean - plans["fp32", 0].mean).abs().mean()
    assert rounding < sampling / 4
    assert not torch.equal(plans["bf16", 0].best_return, plans["fp32", 0].best_return)


@each_set
def test_a_plan_stops_with_its_budget_and_equals_the_plan_of_as_many_iterations(name: str) -> None:
    problem = make_problem(TINY, 2)
    with isa(name):
        for budget, most in ((1e-6, 1), (10.0, 60_000), (1e9, 3)):
            plan = problem.plan(fused, iterations=most, budget_ms=budget, precision="bf16")
            assert 1 <= plan.iterations <= most
            same = problem.plan(fused, iterations=plan.iterations, precision="bf16")
            assert same_plan(plan, same)
        assert problem.plan(fused, iterations=9, budget_ms=1e-6, precision="bf16").iterations == 1
        assert plan.iterations == 3


@each_set
def test_each_precision_keeps_its_own_packed_weights(name: str) -> None:
    problem = make_problem(TINY, batch=1)
    actions = problem.actions(2, 4)
    with isa(name):
        before = problem.returns(fused, actions, None)
        rounded = problem.returns(fused, actions, None, precision="bf16")
        assert len(problem.weights._cache) == 2
        assert torch.equal(problem.returns(fused, actions, None), before)
    assert not torch.equal(rounded, before)
