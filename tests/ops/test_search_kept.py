"""Tests kept sequences: cold rows, open entries, ranks, ties and what is not finite."""

from __future__ import annotations

from dataclasses import replace
from types import ModuleType

import numpy as np
import pytest
import torch
from ops.searches import (
    HORIZON,
    NAN,
    ONE,
    SEARCHES,
    WARM,
    by_hand,
    iteration_of,
    search,
    sequences,
)
from ops.tolerances import REFIT_RELATIVE, close, same_plan
from random_weights import TINY, Problem, make_problem

from planet.latent import LatentState
from planet.ops import reference
from planet.weights.rollout_weights import RolloutWeights

EACH_SEARCH = pytest.mark.parametrize("name", SEARCHES)


def all_equal(batch: int = 2) -> Problem:
    """A model whose rewards are 0 wherever one goes."""
    problem = make_problem(TINY, batch)
    values = {k: v for k, v in vars(problem.weights).items() if not k.startswith("_")}
    for part in ("reward_weights", "reward_biases"):
        values[part] = [torch.zeros_like(value) for value in values[part]]
    return replace(problem, weights=RolloutWeights(**values))


# ---- Kept sequences ------------------------------------------------------------------------------


def test_a_cold_row_is_a_plan_to_which_nothing_was_kept(ops: ModuleType) -> None:
    problem = make_problem(TINY, 3)
    how = search(problem, WARM | {"output": "best", "momentum": 0.2})
    warm = problem.plan(ops, **how)
    cold = problem.plan(ops, **(how | {"kept": None}))
    assert same_plan(replace(cold, iterations=3), problem.plan(ops, **(
        how | {"kept": torch.full_like(how["kept"], NAN)}
    )))  # fmt: skip
    for row, same in ((0, False), (1, True), (2, False)):
        assert torch.equal(warm.mean[:, row], cold.mean[:, row]) is same
        assert torch.equal(warm.best_return[row], cold.best_return[row]) is same
        assert torch.equal(warm.kept[:, row], cold.kept[:, row]) is same


def test_sequences_that_are_none_leave_a_first_iteration_as_it_was(ops: ModuleType) -> None:
    problem = make_problem(TINY, 2)
    whole = sequences(HORIZON, 2, 4, 2).nan_to_num(nan=0.0)
    for seed in range(6):
        plain = problem.plan(ops, seed=seed, **ONE)
        for dimension in (0, 1):  # a single open number of the first step is enough
            none = whole.clone()
            none[0, :, :, dimension] = NAN
            kept = problem.plan(ops, seed=seed, keep=4, kept=none, **ONE)
            assert same_plan(replace(kept, kept=plain.kept), plain)
    kept = problem.plan(ops, seed=0, keep=4, kept=whole, **ONE)
    assert not torch.equal(kept.mean, problem.plan(ops, seed=0, **ONE).mean)


def test_a_kept_sequence_is_scored_under_the_iteration_s_noise(ops: ModuleType) -> None:
    """A sequence has the same return as in the iteration before only where nothing is random."""
    problem = make_problem(TINY, 2)
    mean, stddev = problem.distribution(HORIZON)
    for noisy in (True, False):
        how = {"keep": 1, "state_noise": noisy, "candidates": 24, "topk": 1, "iterations": 1}
        first = problem.plan(ops, **how)
        still = first.mean, torch.zeros_like(stddev)  # all others stay at the mean
        second = problem.plan(ops, start=still, kept=first.kept, first_iteration=1, **how)
        assert torch.equal(first.kept[:, :, 0], second.kept[:, :, 0])
        change = (first.best_return - second.best_return).abs().max()
        assert (change > 1e-3) if noisy else (change < 1e-6)


def test_the_best_return_never_falls_where_the_best_are_kept_and_nothing_is_random(
    ops: ModuleType,
) -> None:
    for seed in range(4):
        problem = make_problem(TINY, 2, seed=seed)
        how = search(problem, {"keep": 2, "state_noise": False, "topk": 8, "mix": "colour"})
        counts = [60, *[12] * 7]
        best = torch.stack(
            [
                problem.plan(ops, candidates=counts[:n], iterations=n, **how).best_return
                for n in range(1, 9)
            ]
        )
        fall = (best[:-1] - best[1:]).max().item()
        assert fall <= (1e-6 if ops is reference else 0.0)
        how["keep"] = 0
        best = torch.stack(
            [
                problem.plan(ops, candidates=counts[:n], iterations=n, **how).best_return
                for n in range(1, 9)
            ]
        )
        assert (best[:-1] - best[1:]).max() > 0.0


def test_the_kept_are_the_best_by_rank(ops: ModuleType) -> None:
    problem = make_problem(TINY, 2)
    plans = {keep: problem.plan(ops, keep=keep, **ONE) for keep in (0, 1, 4, 6)}
    for keep, plan in plans.items():
        assert plan.kept.shape == (HORIZON, 2, keep, 2)
        assert torch.equal(plan.kept, plans[6].kept[:, :, :keep])
        assert torch.equal(plan.mean, plans[6].mean)
    assert close(plans[6].mean, plans[6].kept.double().mean(dim=2), 0.0, REFIT_RELATIVE)
    one = problem.plan(ops, **(ONE | {"topk": 1}))
    assert torch.equal(one.mean, plans[6].kept[:, :, 0])


def test_all_returns_equal_keeps_the_lowest_numbers_and_never_a_kept_one(ops: ModuleType) -> None:
    problem = all_equal()
    how = {"keep": 3, "candidates": [8, 5], "topk": 5, "iterations": 2}
    first = problem.plan(ops, **iteration_of(how, 0), kept=torch.full((HORIZON, 2, 3, 2), 0.3))
    lowest = by_hand(ops, problem, *problem.distribution(HORIZON), seed=1, candidates=8, topk=5,
                     keep=3)  # fmt: skip
    assert torch.equal(first.kept, lowest.kept)
    assert close(first.mean, lowest.mean, 0.0, REFIT_RELATIVE)
    second = problem.plan(ops, **how)
    assert not torch.equal(second.kept, first.kept)
    assert torch.equal(second.best_return, torch.zeros(2))


# ---- What is not finite --------------------------------------------------------------------------


def broken(problem: Problem, row: int) -> Problem:
    """The problem with a start that gives only NaN in one row."""
    state = problem.latent.state.clone()
    state[row, 0] = NAN
    return replace(problem, latent=LatentState(problem.latent.belief, state))


@EACH_SEARCH
def test_a_row_of_nan_is_a_finite_plan_of_the_lowest_numbers_and_a_nan_best(
    ops: ModuleType, name: str
) -> None:
    problem = make_problem(TINY, 3)
    how = search(problem, SEARCHES[name])
    plan, whole = broken(problem, 0).plan(ops, **how), problem.plan(ops, **how)
    assert plan.best_return.isnan().tolist() == [True, False, False]
    assert plan.finite.tolist() == [False, True, True]
    for part in (plan.mean, plan.stddev, plan.action):
        assert part.isfinite().all()
    assert torch.equal(plan.mean[:, 1:], whole.mean[:, 1:])
    assert torch.equal(plan.kept[:, 1:], whole.kept[:, 1:])
    if how.get("keep", 0) <= min(np.atleast_1d(how["candidates"])):
        assert plan.kept.isfinite().all()  # of the candidates that were drawn


def test_only_nan_weighs_alike(ops: ModuleType) -> None:
    problem = broken(make_problem(TINY, 1), 0)
    assert torch.equal(
        problem.plan(ops, temperature=0.1, **ONE).mean, problem.plan(ops, **ONE).mean
    )
