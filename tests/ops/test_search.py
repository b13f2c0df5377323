"""Tests searches beyond the plain method: iterations, mixed normals, weights, momentum, output."""

from __future__ import annotations

from dataclasses import replace
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from ops.searches import (
    HORIZON,
    ICEM,
    MPPI,
    ONE,
    SEARCHES,
    UNMIXED,
    WARM,
    by_hand,
    colour,
    decided,
    iteration_of,
    search,
    somewhere,
)
from ops.tolerances import PLAN_ABSOLUTE, REFIT_RELATIVE, close, same_plan
from random_weights import PRESET_SIZES, TINY, TINY_SSM, Sizes, make_problem

from planet.ops import reference
from planet.protocols import Plan

EACH_TRANSITION = pytest.mark.parametrize("sizes", [TINY, TINY_SSM], ids=["rssm", "ssm"])
EACH_SEARCH = pytest.mark.parametrize("name", SEARCHES)


# ---- Iterations ----------------------------------------------------------------------------------


@EACH_TRANSITION
@EACH_SEARCH
def test_an_iteration_is_drawing_scoring_ranking_and_refit(
    ops: ModuleType, name: str, sizes: Sizes
) -> None:
    problem, (mean, stddev) = make_problem(sizes, 3, seed=1), somewhere(3)
    whole, kept = search(problem, SEARCHES[name]), None
    for number in range(whole["iterations"]):
        given = iteration_of(whole, number) | ({"kept": kept} if number else {})
        for seed in range(
            100
        ):  # roundings of mixed normals decide nothing in the one that is taken
            given["seed"] = seed
            expected = by_hand(ops, problem, mean, stddev, **given)
            if given.get("mix") is None or decided(expected.returns, **given):
                break
        got = problem.plan(ops, start=(mean, stddev), **given)
        if given.get("temperature") or given.get("momentum") or given.get("mix") is not None:
            assert close(got.mean, expected.mean, PLAN_ABSOLUTE)
            assert close(got.stddev, expected.stddev, PLAN_ABSOLUTE)
        else:
            assert close(got.mean, expected.mean, 0.0, REFIT_RELATIVE)
            assert close(got.stddev, expected.stddev, 0.0, REFIT_RELATIVE)
        assert close(got.kept, expected.kept, PLAN_ABSOLUTE)
        assert close(got.action, expected.action, PLAN_ABSOLUTE)
        assert close(got.best_return, expected.best_return, 1e-5)
        assert got.iterations == 1
        mean, stddev, kept = got.mean, got.stddev, got.kept if "keep" in given else None


@EACH_TRANSITION
@EACH_SEARCH
def test_all_iterations_equal_single_ones_that_hand_on_what_is_kept(
    ops: ModuleType, name: str, sizes: Sizes
) -> None:
    problem, (mean, stddev) = make_problem(sizes, 2, seed=1), somewhere(2)
    whole = search(problem, SEARCHES[name])
    together = problem.plan(ops, start=(mean, stddev), **whole)
    got = problem.plan(ops, start=(mean, stddev), **iteration_of(whole, 0))
    for number in range(1, whole["iterations"]):
        given, start = iteration_of(whole, number), (got.mean, got.stddev)
        got = problem.plan(ops, start=start, **(given | {"kept": got.kept}))
    assert same_plan(replace(got, iterations=whole["iterations"]), together)


@EACH_SEARCH
def test_fewer_iterations_are_the_beginning_of_more(ops: ModuleType, name: str) -> None:
    problem = make_problem(TINY, 2)
    how = search(problem, SEARCHES[name])
    first = problem.plan(ops, **iteration_of(how, 0))
    short = problem.plan(ops, budget_ms=1e-6, **how)
    assert short.iterations == 1
    assert same_plan(short, first)
    assert same_plan(problem.plan(ops, budget_ms=1e9, **how), problem.plan(ops, **how))


@pytest.mark.parametrize(
    "explicit",
    [
        {"mix": None, "kept": None, "keep": 0, "momentum": 0.0, "temperature": None,
         "output": "mean"},
        {"candidates": [40, 40]}, {"candidates": (40, np.int64(40))}, {"momentum": 0},
        {"keep": np.int64(0)}, {"momentum": np.float32(0.0)}, {"mix": torch.eye(HORIZON)},
        {"kept": torch.zeros(HORIZON, 2, 0, 2)},
    ],
    ids=str,
)  # fmt: skip
def test_defaults_that_are_written_out_change_no_bit(
    ops: ModuleType, explicit: dict[str, Any]
) -> None:
    for sizes in (TINY, TINY_SSM):
        problem = make_problem(sizes, 2)
        assert same_plan(problem.plan(ops, **explicit), problem.plan(ops))
    assert problem.plan(ops).kept.shape == (HORIZON, 2, 0, 2)


def test_arguments_are_left_alone_and_any_strides_are_taken(ops: ModuleType) -> None:
    problem = make_problem(TINY, 2)
    how = search(problem, ICEM | WARM)
    copies = how["kept"].clone(), how["mix"].clone()
    expected = problem.plan(ops, **how)
    strided = {
        "kept": how["kept"].permute(3, 1, 0, 2).contiguous().permute(2, 1, 3, 0),
        "mix": how["mix"].T.contiguous().T,
    }
    assert same_plan(problem.plan(ops, **(how | strided)), expected)
    assert torch.equal(how["kept"].nan_to_num(9.0), copies[0].nan_to_num(9.0))
    assert torch.equal(how["mix"], copies[1])
    assert expected.kept.is_contiguous()
    assert expected.action.is_contiguous()


@EACH_SEARCH
def test_a_problem_alone_equals_its_row(ops: ModuleType, name: str) -> None:
    problem = make_problem(TINY, 3, seed=2)
    how = search(problem, SEARCHES[name]) | {"seed": torch.tensor([5, -7, 2**40])}
    batch = problem.plan(ops, **how)
    for b in range(3):
        row = slice(b, b + 1)
        own = {"seed": how["seed"][row]}
        own |= {"kept": how["kept"][:, row]} if "kept" in how else {}
        alone = problem.rows(row).plan(ops, **(how | own))
        if ops is reference:  # whose products of another shape may round differently
            assert close(alone.mean, batch.mean[:, row], PLAN_ABSOLUTE)
            assert close(alone.kept, batch.kept[:, row], PLAN_ABSOLUTE)
        else:
            assert same_plan(batch, alone, row)


def test_starts_of_each_candidate_go_with_a_mix_and_weights(ops: ModuleType) -> None:
    problem, (mean, stddev) = make_problem(TINY, 2, candidates=24), somewhere(2)
    given = ONE | {"seed": 1, "mix": colour(HORIZON), "temperature": 0.5, "output": "best"}
    got = problem.plan(ops, start=(mean, stddev), **given)
    expected = by_hand(ops, problem, mean, stddev, **given)
    assert close(got.mean, expected.mean, PLAN_ABSOLUTE)
    assert close(got.action, expected.action, PLAN_ABSOLUTE)


# ---- Mixed normals -------------------------------------------------------------------------------


def test_a_mix_gives_actions_its_covariance(ops: ModuleType) -> None:
    """All candidates are elites, so that a plan's stddev and mean are those of the normals."""
    mix, problem = torch.zeros(HORIZON, HORIZON), make_problem(TINY, 1)
    mix[0, 3], mix[1, 1], mix[2], mix[3, :2] = 1.0, -2.0, 0.5, torch.tensor([3.0, 4.0])
    how: dict[str, Any] = {"candidates": 20_000, "topk": 20_000, "iterations": 1, "epsilon": 0.0}
    how |= {"low": -100.0, "high": 100.0, "state_noise": False}
    plain, plan = problem.plan(ops, **how), problem.plan(ops, mix=mix, **how)
    assert close(plan.mean[0], plain.mean[3], 1e-6)
    assert close(plan.stddev[0], plain.stddev[3], 1e-6)
    assert close(plan.mean[1], -2.0 * plain.mean[1], 1e-6)
    assert close(plan.mean[2], 0.5 * plain.mean.sum(dim=0), 1e-6)
    assert close(plan.mean[3], 3.0 * plain.mean[0] + 4.0 * plain.mean[1], 1e-6)
    assert torch.equal(plan.mean[4], torch.zeros(1, 2))
    assert torch.equal(plan.stddev[4], torch.zeros(1, 2))
    expected = torch.tensor([1.0, 2.0, 0.5 * HORIZON**0.5, 5.0])[:, None, None]
    assert close(plan.stddev[:4], expected.expand(4, 1, 2), 0.0, 0.03)  # six standard errors


def test_a_mix_leaves_the_last_dimension_s_normals_to_it(ops: ModuleType) -> None:
    """Every dimension is mixed along its own time, and no candidate with another."""
    problem, (mean, stddev) = make_problem(TINY, 2, candidates=5), somewhere(2)
    how = {"candidates": 5, "topk": 1, "iterations": 1, "seed": 3, "output": "best"}
    for shift in (1, 2):
        mix = torch.eye(HORIZON).roll(shift, dims=0)
        got = problem.plan(ops, start=(mean, stddev), mix=mix, **how)
        expected = by_hand(ops, problem, mean, stddev, mix=mix, **how)
        assert torch.equal(got.mean, expected.mean.float())
        assert torch.equal(got.action, got.mean[0])


# ---- Weights -------------------------------------------------------------------------------------


def test_without_heat_the_best_candidate_is_all_that_counts(ops: ModuleType) -> None:
    for sizes in (TINY, PRESET_SIZES["small"]):
        problem = make_problem(sizes, 2)
        cold = problem.plan(ops, **(MPPI | {"temperature": 1e-12}))
        best = problem.plan(ops, **(MPPI | {"temperature": None, "topk": 1}))
        assert same_plan(cold, best)
        assert torch.equal(cold.stddev, torch.full_like(cold.stddev, 1e-3))  # of epsilon


def test_with_much_heat_all_elites_count_alike(ops: ModuleType) -> None:
    problem = make_problem(TINY, 2)
    for topk in (1, 7, 24):
        hot = problem.plan(ops, temperature=1e12, **(ONE | {"topk": topk}))
        plain = problem.plan(ops, **(ONE | {"topk": topk}))
        assert close(hot.mean, plain.mean, 1e-9, REFIT_RELATIVE)
        assert close(hot.stddev, plain.stddev, 1e-9, REFIT_RELATIVE)


def test_more_heat_is_farther_from_the_best(ops: ModuleType) -> None:
    problem = make_problem(TINY, 2)
    best: Plan = problem.plan(ops, **(ONE | {"topk": 1}))
    away = [
        (problem.plan(ops, temperature=heat, **ONE).mean - best.mean).norm().item()
        for heat in (0.003, 0.03, 0.3, 3.0)
    ]
    assert away == sorted(away)
    assert away[0] < 0.5 * away[-1]


# ---- Momentum and output -------------------------------------------------------------------------


def test_momentum_is_a_share_of_the_distribution_before(ops: ModuleType) -> None:
    problem, (mean, stddev) = make_problem(TINY, 2), somewhere(2)
    plain = problem.plan(ops, start=(mean, stddev), **ONE)
    for share in (0.25, 0.9999):
        plan = problem.plan(ops, start=(mean, stddev), momentum=share, **ONE)
        assert close(plan.mean, share * mean + (1 - share) * plain.mean, 1e-7)
        assert close(plan.stddev, share * stddev + (1 - share) * plain.stddev, 1e-7)


@pytest.mark.parametrize("name", UNMIXED)
def test_the_output_changes_the_action_alone(ops: ModuleType, name: str) -> None:
    problem = make_problem(TINY, 3)
    how = search(problem, SEARCHES[name])
    mean, best = (problem.plan(ops, **(how | {"output": output})) for output in ("mean", "best"))
    assert same_plan(replace(best, action=mean.action), mean)
    assert torch.equal(mean.action, mean.mean[0])
    if how.get("keep"):
        assert torch.equal(best.action, best.kept[0, :, 0])
    low, high = how.get("low", -1.0), how.get("high", 1.0)
    assert ((best.action >= low) & (best.action <= high)).all()
