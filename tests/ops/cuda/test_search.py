"""Searches beyond the plain method on the device: iteration by iteration, in one call, captured."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from ops.cuda.support import Device, needs_gpu, plan
from ops.searches import HORIZON, NAN, SEARCHES, by_hand, iteration_of, search, somewhere
from ops.tolerances import PLAN_ABSOLUTE, close, gap, same_plan
from random_weights import PRESET_SIZES, TINY, Problem, Sizes, make_problem
from torch import Tensor

from planet.noise import row_seeds
from planet.ops import fused, reference
from planet.protocols import Plan

PRECISIONS = pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
EACH_SEARCH = pytest.mark.parametrize("name", SEARCHES)
FITTING = Sizes(belief=64, state=16, action=2, hidden=64, reward=(64, 64))
GAP = 1e-4  # between returns: fp32's error and more


def apart(returns: Tensor, topk: int, keep: int = 0, **other: object) -> bool:
    """Whether elites and first ranks of returns [B, J] are the same on any device."""
    for row in returns:
        numbers = row[~row.isnan()][None]
        ranks = {topk, *range(1, max(keep, 1) + 1)} & set(range(1, numbers.shape[1]))
        if any(gap(numbers, rank) <= GAP for rank in ranks):
            return False
    return True


@EACH_SEARCH
def test_an_iteration_is_drawing_scoring_ranking_and_refit(device: Device, name: str) -> None:
    problem, (mean, stddev), kept = make_problem(TINY, 2, seed=1), somewhere(2), None
    whole = search(problem, SEARCHES[name])
    for number in range(whole["iterations"]):
        given = iteration_of(whole, number) | ({"kept": kept} if number else {})
        for seed in range(200):
            given["seed"] = seed
            expected = by_hand(reference, problem, mean, stddev, **given)
            if apart(expected.returns, **given):
                break
        got = plan(device, problem, mean, stddev, **given)
        # A weight is off by a return's error over the temperature.
        absolute = 1e-4 if given.get("temperature") else 2 * PLAN_ABSOLUTE
        assert close(got.mean, expected.mean, absolute)
        assert close(got.stddev, expected.stddev, absolute)
        assert close(got.action, expected.action, absolute)
        assert close(got.kept, expected.kept, 2 * PLAN_ABSOLUTE)
        assert close(got.best_return, expected.best_return, GAP)
        mean, stddev, kept = got.mean, got.stddev, got.kept if "keep" in given else None


@PRECISIONS
@EACH_SEARCH
def test_all_iterations_equal_single_ones_that_hand_on_what_is_kept(
    device: Device, name: str, precision: str
) -> None:
    problem, (mean, stddev) = make_problem(TINY, 2, seed=1), somewhere(2)
    whole = search(problem, SEARCHES[name]) | {"precision": precision}
    together = plan(device, problem, mean, stddev, **whole)
    got = plan(device, problem, mean, stddev, **iteration_of(whole, 0))
    for number in range(1, whole["iterations"]):
        given = iteration_of(whole, number) | {"kept": got.kept}
        got = plan(device, problem, got.mean, got.stddev, **given)
    assert same_plan(replace(got, iterations=whole["iterations"]), together)


@PRECISIONS
def test_a_problem_alone_is_the_row_of_a_batch(device: Device, precision: str) -> None:
    problem, seeds = make_problem(TINY, 3, seed=2), row_seeds(2, 3)
    how = search(problem, SEARCHES["all"]) | {"precision": precision}
    mean, stddev = somewhere(3)
    whole = plan(device, problem, mean, stddev, **how | {"seed": seeds})
    for b in range(3):
        row = slice(b, b + 1)
        own = how | {"seed": seeds[row], "kept": how["kept"][:, row]}
        alone = plan(device, problem.rows(row), mean[:, row], stddev[:, row], **own)
        assert same_plan(whole, alone, row)


@PRECISIONS
def test_what_changes_nothing_changes_no_bit(device: Device, precision: str) -> None:
    problem, start = make_problem(TINY, 2), somewhere(2)
    how = {"seed": 1, "candidates": 33, "topk": 6, "iterations": 1, "precision": precision}
    usual = plan(device, problem, *start, **how)
    for same in ({"mix": torch.eye(HORIZON)}, {"candidates": [33]}, {"momentum": 0.0}):
        assert same_plan(plan(device, problem, *start, **how | same), usual), same
    none = torch.full((HORIZON, 2, 4, 2), 0.5)
    none[0, :, :, 1] = NAN  # a single open number of the first step is enough
    for kept in (none, None):
        got = plan(device, problem, *start, keep=4, kept=kept, **how)
        assert same_plan(replace(got, kept=usual.kept), usual)
    best = plan(device, problem, *start, output="best", **how)
    assert not best.action.equal(usual.action)
    assert same_plan(replace(best, action=usual.action), usual)


def test_what_was_given_is_left_alone(device: Device) -> None:
    problem = make_problem(TINY, 2)
    how = search(problem, SEARCHES["all"])
    before = {name: how[name].clone() for name in ("mix", "kept")}
    first = plan(device, problem, *somewhere(2), **how)
    assert same_plan(plan(device, problem, *somewhere(2), **how), first)
    for name, value in before.items():
        assert how[name].nan_to_num(9.0).equal(value.nan_to_num(9.0))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"candidates": [20, 10]}, "needs equal candidates in every iteration"),
        ({"mix": torch.eye(HORIZON)}, "takes no mix"),
        ({"keep": 1}, r"takes no kept sequences \(keep\)"),
        ({"momentum": 0.1}, "takes no momentum"),
        ({"temperature": 1.0}, "takes no temperature"),
        ({"output": "best"}, "has the output 'mean' only"),
    ],
    ids=str,
)
def test_the_persistent_variant_refuses_each_setting_by_name(
    device: Device, change: dict[str, Any], why: str
) -> None:
    how = {"seed": 1, "candidates": [20, 20], "topk": 3, "iterations": 2, "precision": "fp16"}
    with pytest.raises(ValueError, match=f"variant: 'persistent' does not .*: .* {why}; use 'por"):
        plan(
            device, make_problem(FITTING, 2), *somewhere(2), variant="persistent", **how | change
        )  # fmt: skip


# --- A GPU alone ----------------------------------------------------------------------------------


def on_gpu(problem: Problem, **settings: Any) -> tuple[Any, Tensor, Tensor]:
    """Gives a function that plans, and the seeds and kept sequences that it reads."""
    device, how = Device("cuda", "cuda"), search(problem, SEARCHES["all"]) | settings
    there, seeds = device.move(problem), row_seeds(1, problem.batch).cuda()
    mean, stddev, mix, kept = (
        device.to(x)
        for x in (*somewhere(problem.batch, problem.weights.action_size), how["mix"], how["kept"])
    )
    how |= {"seed": seeds, "mix": mix, "kept": kept}
    return lambda: fused.cem_plan(there.weights, there.latent, mean, stddev, **how), seeds, kept


def cpu(got: Plan) -> Plan:
    """Copies a plan."""
    names = ("action", "mean", "stddev", "best_return")
    parts = (getattr(got, name).cpu() for name in names)
    return Plan(*parts, got.iterations, got.kept.cpu())


@needs_gpu
@PRECISIONS
def test_a_captured_search_is_replayed_with_new_seeds_and_kept_sequences(precision: str) -> None:
    make, seeds, kept = on_gpu(make_problem(FITTING, 2), precision=precision)
    make()  # packs the weights
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        got = make()
    before = None
    for seed in (1, 2, 3):
        seeds.copy_(row_seeds(seed, 2))
        if before is not None:
            kept.copy_(before.kept)
        graph.replay()
        torch.cuda.synchronize()
        before = cpu(got)
        assert same_plan(cpu(make()), before)


@needs_gpu
@PRECISIONS
def test_searches_repeat(precision: str) -> None:
    sizes = {"candidates": [1000, 700, 300], "topk": 100}
    make, _, _ = on_gpu(make_problem(PRESET_SIZES["paper"], 2), precision=precision, **sizes)
    first = cpu(make())
    for _ in range(100):
        assert same_plan(cpu(make()), first)
