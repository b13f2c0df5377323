"""Tests CEM: batches, chains, bounds, budget; `rollout_returns` and `refit` in turn."""

from __future__ import annotations

import math
from dataclasses import replace
from types import ModuleType
from typing import Any

import pytest
import torch
from ops.fused_support import KERNELS, isa
from ops.tolerances import PLAN_ABSOLUTE, RETURNS, close, gap, returns_error, same_plan
from random_weights import PRESET_SIZES, TINY, TINY_SSM, Problem, Sizes, make_problem
from torch import Tensor

from planet.latent import LatentState
from planet.noise import STREAM_ACTIONS, Noise, normals, row_seeds
from planet.ops import loop, reference

HORIZON = 5
SMALL = PRESET_SIZES["small"]
EACH_TRANSITION = pytest.mark.parametrize(
    "sizes", [SMALL, replace(SMALL, belief=0)], ids=["rssm", "ssm"]
)


def actions_of(
    mean: Tensor, stddev: Tensor, seeds: Tensor, candidates: int, iteration: int
) -> Tensor:
    """Draws the unclipped actions of one iteration, [H, B, J, A]."""
    horizon, _, size = mean.shape
    drawn = [
        normals(seeds, candidates, size, stream=STREAM_ACTIONS, time=t, iteration=iteration)
        for t in range(horizon)
    ]
    return mean[:, :, None] + stddev[:, :, None] * torch.stack(drawn)


# --- Batches and chains ---------------------------------------------------------------------------


@EACH_TRANSITION
def test_a_problem_alone_with_its_row_seed_equals_its_row(ops: ModuleType, sizes: Sizes) -> None:
    problem, seeds = make_problem(sizes, 4, seed=2), row_seeds(7, 4)
    for iterations in (1, 2):
        batch = problem.plan(ops, seed=7, iterations=iterations)
        assert same_plan(batch, problem.plan(ops, seed=seeds, iterations=iterations))
        for b in range(4):
            row = slice(b, b + 1)
            alone = problem.rows(row).plan(ops, seed=seeds[b], iterations=iterations)
            same = problem.rows(row).plan(ops, seed=seeds[row], iterations=iterations)
            assert same_plan(alone, same)
            if ops is reference:
                # Matrix products of another shape may round differently; the elites stay the same.
                assert close(alone.mean, batch.mean[:, row], PLAN_ABSOLUTE)
                assert close(alone.stddev, batch.stddev[:, row], PLAN_ABSOLUTE)
            else:
                assert same_plan(batch, alone, row)


@EACH_TRANSITION
def test_two_iterations_equal_two_chained_calls_bit_for_bit(ops: ModuleType, sizes: Sizes) -> None:
    problem = make_problem(sizes, 2, seed=2)
    for noisy in (True, False):
        for first in (0, 3):
            both = problem.plan(ops, iterations=2, first_iteration=first, state_noise=noisy)
            one = problem.plan(ops, iterations=1, first_iteration=first, state_noise=noisy)
            two = problem.plan(
                ops, start=(one.mean, one.stddev), iterations=1, first_iteration=first + 1,
                state_noise=noisy,
            )  # fmt: skip
            assert torch.equal(both.best_return, two.best_return)
            assert torch.equal(both.mean, two.mean)
            assert torch.equal(both.stddev, two.stddev)
            assert not torch.equal(one.mean, two.mean)


def test_the_same_seed_gives_the_same_plan_and_another_one_another(ops: ModuleType) -> None:
    problem = make_problem(TINY, 2)
    plan = problem.plan(ops)
    torch.manual_seed(123)
    assert same_plan(plan, problem.plan(ops))
    assert not torch.equal(plan.mean, problem.plan(ops, seed=2).mean)
    assert not torch.equal(plan.mean, problem.plan(ops, first_iteration=1).mean)


def test_negative_and_unsigned_seeds_are_the_same_bits(ops: ModuleType) -> None:
    problem = make_problem(TINY, 2)
    assert same_plan(problem.plan(ops, seed=-3), problem.plan(ops, seed=2**64 - 3))


# --- An iteration, step by step -------------------------------------------------------------------


@pytest.mark.parametrize("settings", [
    {}, {"spread": "mean_absolute"}, {"discount": 0.9}, {"state_noise": False}, {"epsilon": 0.01},
    {"low": -0.3, "high": 0.1}, {"first_iteration": 65535},
], ids=str)  # fmt: skip
def test_an_iteration_is_sampling_clipping_rollout_and_refit(
    ops: ModuleType, settings: dict[str, Any]
) -> None:
    problem, seeds = make_problem(TINY, 3, seed=4), row_seeds(5, 3)
    generator = torch.Generator().manual_seed(0)
    mean = torch.rand(HORIZON, 3, 2, generator=generator) - 0.5
    stddev = torch.rand(HORIZON, 3, 2, generator=generator) + 0.1
    how = {"seed": seeds, "candidates": 30, "topk": 5, "iterations": 1}
    plan = problem.plan(ops, start=(mean, stddev), **how, **settings)
    iteration = settings.get("first_iteration", 0)
    actions = actions_of(mean, stddev, seeds, 30, iteration)
    actions = actions.clamp(settings.get("low", -1.0), settings.get("high", 1.0))
    noise = Noise(seeds, iteration) if settings.get("state_noise", True) else None
    returns = problem.returns(ops, actions, noise, discount=settings.get("discount", 1.0))
    assert gap(returns, 5) > 10 * RETURNS[1.0]
    refit = {k: v for k, v in settings.items() if k in ("spread", "epsilon")}
    fitted = ops.refit(actions, returns, topk=5, **refit)
    assert close(plan.mean, fitted.mean, PLAN_ABSOLUTE)
    assert close(plan.stddev, fitted.stddev, PLAN_ABSOLUTE)
    assert returns_error(plan.best_return, fitted.best) <= 2 * RETURNS[1.0]
    assert torch.equal(plan.action, plan.mean[0])
    assert plan.iterations == 1


def test_actions_are_clipped_before_scoring_and_refit(ops: ModuleType) -> None:
    problem = make_problem(TINY, 2)
    mean, _ = problem.distribution(HORIZON)
    plan = problem.plan(
        ops, start=(mean + 50.0, torch.ones_like(mean)), seed=0, candidates=9, topk=9,
        iterations=1, low=-0.5, high=0.25, epsilon=0.0,
    )  # fmt: skip
    assert torch.equal(plan.mean, torch.full_like(mean, 0.25))  # all candidates are 0.25 exactly
    assert torch.equal(plan.stddev, torch.zeros_like(mean))
    bound = torch.full((HORIZON, 2, 9, 2), 0.25)
    returns = problem.returns(ops, bound, Noise(0))
    assert returns_error(plan.best_return, returns.amax(dim=1)) <= RETURNS[1.0]


def test_bounds_may_be_numbers_or_tensors_per_action_or_per_problem(ops: ModuleType) -> None:
    problem = make_problem(TINY, 2)
    number = problem.plan(ops, low=-0.5, high=0.25)
    for low, high in (
        (torch.tensor([-0.5, -0.5]), torch.tensor([0.25, 0.25])),
        (torch.full((2, 2), -0.5), 0.25),
        (-0.5, torch.full((1, 1), 0.25).expand(2, 2)),
        (torch.full((2, 4), -0.5)[:, ::2], torch.full((2, 2), 0.25).T),
    ):
        assert same_plan(problem.plan(ops, low=low, high=high), number)
    low, high = torch.tensor([-0.5, 0.0]), torch.tensor([[0.0, 0.1], [0.3, 2.0]])
    plan = problem.plan(ops, low=low, high=high)
    assert (plan.mean >= low).all()
    assert (plan.mean <= high).all()
    for b in range(2):
        row = slice(b, b + 1)
        alone = problem.rows(row).plan(ops, seed=row_seeds(1, 2)[b], low=low, high=high[row])
        assert close(alone.mean, plan.mean[:, row], PLAN_ABSOLUTE)


def test_one_start_per_candidate_is_taken(ops: ModuleType) -> None:
    shared = make_problem(TINY, 2)
    spread = LatentState(
        shared.latent.belief[:, None].expand(-1, 40, -1),
        shared.latent.state[:, None].expand(-1, 40, -1),
    )
    plan = shared.plan(ops)
    copied = replace(shared, latent=spread).plan(ops)
    assert same_plan(plan, copied)
    own = make_problem(TINY, 2, candidates=40)
    assert not torch.equal(own.plan(ops).mean, plan.mean)


def test_candidates_that_fill_no_whole_tile_and_a_single_one_work(ops: ModuleType) -> None:
    problem = make_problem(TINY, 2)
    for candidates in (1, 2, 3, 5, 17, 63, 65):
        plan = problem.plan(ops, candidates=candidates, topk=1)
        assert torch.isfinite(plan.mean).all()
        assert torch.isfinite(plan.best_return).all()
    one = problem.plan(ops, candidates=1, topk=1, iterations=1, epsilon=0.0)
    mean, stddev = problem.distribution(HORIZON)
    expected = actions_of(mean, stddev, row_seeds(1, 2), 1, 0).clamp(-1, 1)[:, :, 0]
    assert close(one.mean, expected, PLAN_ABSOLUTE)
    assert torch.equal(one.stddev, torch.zeros_like(mean))


def test_nan_returns_give_a_finite_plan_and_a_nan_best(ops: ModuleType) -> None:
    problem = make_problem(TINY, 1)
    state = torch.full_like(problem.latent.state, float("nan"))
    broken = Problem(problem.weights, LatentState(problem.latent.belief, state), problem.generator)
    plan = broken.plan(ops)
    assert math.isnan(plan.best_return.item())
    assert torch.isfinite(plan.mean).all()
    assert torch.isfinite(plan.stddev).all()


def test_the_arguments_are_left_alone_and_any_strides_are_taken(ops: ModuleType) -> None:
    problem = make_problem(TINY, 3)
    mean, stddev = problem.distribution(HORIZON)
    settings = {"seed": row_seeds(1, 3), "candidates": 20, "topk": 4, "iterations": 2}
    expected = problem.plan(ops, start=(mean, stddev), **settings)
    strided = mean.permute(2, 1, 0).contiguous().permute(2, 1, 0)
    scalar = torch.ones(1, 1, 1).expand(HORIZON, 3, 2)
    seeds = torch.stack([row_seeds(1, 3)] * 2, dim=1)[:, 0]
    got = problem.plan(ops, start=(strided, scalar), **(settings | {"seed": seeds}))
    assert same_plan(got, expected)
    assert torch.equal(mean, torch.zeros_like(mean))
    assert torch.equal(stddev, torch.ones_like(mean))


# --- Budget ---------------------------------------------------------------------------------------


def test_a_tiny_budget_still_runs_one_iteration(ops: ModuleType) -> None:
    problem = make_problem(TINY, 2)
    plan = problem.plan(ops, iterations=1000, budget_ms=1e-6)
    assert plan.iterations == 1
    assert same_plan(plan, problem.plan(ops, iterations=1))


def test_a_large_budget_runs_all_iterations(ops: ModuleType) -> None:
    problem = make_problem(TINY, 2)
    plan = problem.plan(ops, iterations=3, budget_ms=1e9)
    assert same_plan(plan, problem.plan(ops, iterations=3))


def test_a_plan_with_a_budget_equals_the_plan_of_as_many_iterations(ops: ModuleType) -> None:
    problem = make_problem(TINY, 2)
    plan = problem.plan(ops, iterations=60_000, budget_ms=10.0)
    assert 1 <= plan.iterations < 60_000  # which take seconds at least
    assert same_plan(plan, problem.plan(ops, iterations=plan.iterations))


@pytest.mark.parametrize(
    ("budget_ms", "iterations"),
    [(1e-9, 1), (1.9, 1), (2.1, 2), (8.9, 2), (9.1, 3), (10.9, 3), (11.1, 4)],
)
def test_no_iteration_is_begun_that_would_not_fit(
    budget_ms: float, iterations: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the longest one so far; on a clock of the test's own they take 1, 4, 2 and 3 ms."""
    problem, took, now = make_problem(TINY, 2), iter([1.0, 4.0, 2.0, 3.0]), [0.0]
    original = reference.rollout_returns

    def rollout(*arguments: Any, **settings: Any) -> Tensor:
        now[0] += next(took) / 1e3
        return original(*arguments, **settings)

    monkeypatch.setattr(loop.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(reference, "rollout_returns", rollout)
    assert problem.plan(reference, iterations=4, budget_ms=budget_ms).iterations == iterations


# --- Two backends ---------------------------------------------------------------------------------


@pytest.mark.parametrize("size", list(PRESET_SIZES))
def test_backends_agree_on_plans_iteration_by_iteration(
    both: tuple[ModuleType, ModuleType], size: str
) -> None:
    problem, seeds = make_problem(PRESET_SIZES[size], 2, seed=1), row_seeds(3, 2)
    mean, stddev = problem.distribution(12)
    for iteration in range(2):
        actions = actions_of(mean, stddev, seeds, 60, iteration).clamp(-1, 1)
        returns = problem.returns(reference, actions, Noise(seeds, iteration))
        assert gap(returns, 10) > 10 * RETURNS[1.0]
        a, b = (
            problem.plan(
                ops, start=(mean, stddev), seed=seeds, candidates=60, topk=10, iterations=1,
                first_iteration=iteration,
            )
            for ops in both
        )  # fmt: skip
        assert close(b.mean, a.mean, PLAN_ABSOLUTE)
        assert close(b.stddev, a.stddev, PLAN_ABSOLUTE)
        assert returns_error(b.best_return, a.best_return) <= RETURNS[1.0]
        mean, stddev = a.mean, a.stddev


# ---- What is not finite --------------------------------------------------------------------------


@pytest.mark.parametrize("transition", ["rssm", "ssm"])
@pytest.mark.parametrize("activation", ["relu", "elu"])
@pytest.mark.parametrize("precision", ["fp32", "int8", "fp16", "bf16"])
def test_a_plan_from_a_start_that_is_not_finite_says_so(
    ops: ModuleType, transition: str, activation: str, precision: str
) -> None:
    """Per problem, and on every instruction set: no kernel turns NaN into a number."""
    problem = make_problem(TINY if transition == "rssm" else TINY_SSM, 3, activation=activation)
    belief, state = problem.latent.belief.clone(), problem.latent.state.clone()
    state[1, -1] = float("nan")
    if transition == "rssm":
        belief[2, 0] = float("inf")
    start = replace(problem, latent=LatentState(belief, state))
    expected = [True, False, transition == "ssm"]
    if ops is reference:
        assert start.plan(ops, precision=precision).finite.tolist() == expected
        return
    for name in [name for name, served in KERNELS if served == precision]:
        with isa(name):
            plan = start.plan(ops, precision=precision)
        assert plan.finite.tolist() == expected
        assert plan.finite.tolist() == plan.best_return.isfinite().tolist()
        assert ((plan.action >= -1) & (plan.action <= 1)).all()
