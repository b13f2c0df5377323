"""Bit for bit: threads, batches and runs change nothing in the compiled core."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import product
from typing import Any

import pytest
import torch
from ops.fused_support import ISAS, KERNELS, isa, needs_extension, threads
from ops.tolerances import RETURNS, returns_error, same_plan
from random_weights import PRESET_SIZES, TINY, TINY_SSM, Problem, Sizes, make_problem

from planet.noise import Noise, row_seeds
from planet.ops import fused
from planet.protocols import Plan

pytestmark = needs_extension


def plan(problem: Problem, **changes: Any) -> Plan:
    settings = {"candidates": 100, "topk": 9, "iterations": 3} | changes
    return problem.plan(fused, **settings)


@pytest.mark.parametrize(("name", "precision"), KERNELS)
def test_returns_do_not_depend_on_the_number_of_threads(name: str, precision: str) -> None:
    for sizes, candidates in product((TINY, TINY_SSM), (1, 20, 64, 130, 1000)):
        problem = make_problem(sizes, batch=2)
        arguments = (problem.weights, problem.latent, problem.actions(3, candidates), Noise(1))
        with isa(name):
            with threads(1):
                alone = fused.rollout_returns(*arguments, precision=precision)
            for count in (2, 3):
                with threads(count):
                    got = fused.rollout_returns(*arguments, precision=precision)
                assert torch.equal(got, alone)


@pytest.mark.parametrize(("name", "precision"), KERNELS)
def test_plans_do_not_depend_on_the_number_of_threads_or_the_run(name: str, precision: str) -> None:
    problem = make_problem(PRESET_SIZES["small"], batch=3)
    with isa(name):
        with threads(1):
            alone = plan(problem, precision=precision)
        for count in (1, 2, 3):
            with threads(count):
                assert same_plan(plan(problem, precision=precision), alone)


@pytest.mark.parametrize(("name", "precision"), KERNELS)
@pytest.mark.parametrize("sizes", [TINY, TINY_SSM], ids=["rssm", "ssm"])
def test_a_problem_alone_equals_its_row_of_a_batch(name: str, precision: str, sizes: Sizes) -> None:
    problem = make_problem(sizes, batch=4)
    with isa(name):
        whole = plan(problem, precision=precision)
        for row in (slice(b, b + 1) for b in range(4)):
            alone = plan(problem.rows(row), seed=row_seeds(1, 4)[row], precision=precision)
            assert same_plan(whole, alone, row)


@pytest.mark.parametrize(("name", "precision"), KERNELS)
@pytest.mark.parametrize("activation", ["relu", "elu"])
def test_a_candidate_does_not_depend_on_the_others(
    name: str, precision: str, activation: str
) -> None:
    for sizes in (TINY, TINY_SSM):
        problem = make_problem(sizes, batch=1, activation=activation)
        actions, noise = problem.actions(3, 100), problem.noise(3, 100)
        start = (problem.weights, problem.latent)
        with isa(name):
            whole = fused.rollout_returns(*start, actions, noise, precision=precision)
            for first, last in ((0, 1), (3, 20), (50, 100), (99, 100)):
                part = (actions[:, :, first:last], noise[:, :, first:last])
                got = fused.rollout_returns(*start, *part, precision=precision)
                assert torch.equal(got, whole[:, first:last])


@pytest.mark.parametrize(("name", "precision"), KERNELS)
def test_two_iterations_equal_one_and_one(name: str, precision: str) -> None:
    problem = make_problem(TINY, batch=2)
    with isa(name):
        both = plan(problem, iterations=2, precision=precision)
        first = plan(problem, iterations=1, precision=precision)
        start = first.mean, first.stddev
        second = plan(problem, start=start, iterations=1, first_iteration=1, precision=precision)
    assert torch.equal(both.mean, second.mean)
    assert torch.equal(both.stddev, second.stddev)
    assert torch.equal(both.best_return, second.best_return)


def test_instruction_sets_agree_within_tolerance() -> None:
    problem = make_problem(PRESET_SIZES["paper"], batch=1)
    actions = problem.actions(12, 50)
    got = []
    for name in ISAS:
        with isa(name):
            got.append(problem.returns(fused, actions, Noise(1)))
    for other in got[1:]:
        assert returns_error(other, got[0]) <= RETURNS[1.0]


def test_python_threads_plan_at_the_same_time() -> None:
    problems = [make_problem(PRESET_SIZES["small"], batch=1, seed=seed) for seed in range(8)]
    alone = [plan(problem) for problem in problems]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(plan, problems * 3))
    for i, got in enumerate(together):
        assert same_plan(got, alone[i % 8])


def test_an_unknown_instruction_set_is_refused() -> None:
    with pytest.raises(ValueError, match="isa: expected one of .*'baseline'.*, got 'sse9'"):
        fused._C.set_isa("sse9")
    assert fused._C.isa_name() in ISAS


def test_avx512vnni_computes_float32_as_avx512_does() -> None:
    if "avx512vnni" not in ISAS:
        pytest.skip("this processor does not run avx512vnni")
    problem = make_problem(PRESET_SIZES["small"], batch=1)
    plans = []
    for name in ("avx512", "avx512vnni"):
        with isa(name):
            plans.append(plan(problem))
    assert same_plan(*plans)


def test_latents_per_candidate_plan_within_their_rows() -> None:
    problem = make_problem(TINY, batch=2, candidates=30)
    row = slice(1, None)
    whole = problem.plan(fused, seed=4, candidates=30)
    alone = problem.rows(row).plan(fused, seed=row_seeds(4, 2)[row], candidates=30)
    assert same_plan(whole, alone, row)
