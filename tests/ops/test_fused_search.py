"""Searches of every kind on every instruction set and precision: parts, bits, rows and threads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import product
from typing import Any

import pytest
import torch
from golden.make_golden import CASES
from ops import test_golden
from ops.fused_support import KERNELS, each_set_of, isa, needs_extension, threads
from ops.searches import (
    HORIZON,
    ICEM,
    ONE,
    SEARCHES,
    UNMIXED,
    WARM,
    by_hand,
    iteration_of,
    search,
    sequences,
    somewhere,
)
from ops.tolerances import REFIT_RELATIVE, close, same_plan
from random_weights import PRESET_SIZES, TINY, TINY_SSM, Sizes, make_problem

from planet.noise import row_seeds
from planet.ops import fused

pytestmark = needs_extension

EACH_KERNEL = pytest.mark.parametrize(("name", "precision"), KERNELS)
EACH_TRANSITION = pytest.mark.parametrize("sizes", [TINY, TINY_SSM], ids=["rssm", "ssm"])
MORE = [name for name, case in CASES.items() if case.counts or case.keep or case.temperature]


@EACH_KERNEL
@EACH_TRANSITION
def test_an_iteration_is_its_parts_to_the_last_bit(name: str, precision: str, sizes: Sizes) -> None:
    """But for mean and stddev, whose sums in float64 may round to a neighbour."""
    problem, (mean, stddev) = make_problem(sizes, 3, seed=1), somewhere(3)
    with isa(name):
        for how in UNMIXED.values():
            whole = search(problem, how) | {"precision": precision}
            for number in range(whole["iterations"]):
                given = iteration_of(whole, number)
                got = problem.plan(fused, start=(mean, stddev), **given)
                expected = by_hand(fused, problem, mean, stddev, **given)
                assert close(got.mean, expected.mean, 1e-9, REFIT_RELATIVE)
                assert close(got.stddev, expected.stddev, 1e-9, REFIT_RELATIVE)
                assert torch.equal(got.kept, expected.kept)
                assert torch.equal(got.best_return, expected.best_return)
                if how.get("output") == "best":
                    assert torch.equal(got.action, expected.action)
                else:
                    assert torch.equal(got.action, got.mean[0])


@EACH_KERNEL
def test_iterations_hand_on_what_is_kept(name: str, precision: str) -> None:
    problem = make_problem(TINY, 2)
    with isa(name):
        for how in SEARCHES.values():
            whole = search(problem, how) | {"precision": precision}
            together = problem.plan(fused, **whole)
            got = problem.plan(fused, **iteration_of(whole, 0))
            for number in range(1, whole["iterations"]):
                given, start = iteration_of(whole, number), (got.mean, got.stddev)
                got = problem.plan(fused, start=start, **(given | {"kept": got.kept}))
            assert same_plan(replace(got, iterations=whole["iterations"]), together)


@EACH_KERNEL
@pytest.mark.parametrize("size", ["small", "tiny"])
def test_actions_that_are_written_down_are_those_that_are_drawn(
    name: str, precision: str, size: str
) -> None:
    """A mix that changes nothing, and kept sequences that are none, take the other way."""
    for belief, candidates in product((True, False), (1, 15, 16, 63, 65, 130)):
        sizes = PRESET_SIZES["small"] if size == "small" else TINY
        problem = make_problem(sizes if belief else replace(sizes, belief=0), 2)
        topk = min(candidates, 9)
        how = {"candidates": candidates, "topk": topk, "precision": precision, "iterations": 2}
        none = {"keep": topk, "iterations": 1}
        with isa(name):
            drawn = problem.plan(fused, **how)
            written = problem.plan(fused, mix=torch.eye(HORIZON), **how)
            assert same_plan(written, drawn)
            first, kept = (problem.plan(fused, **(how | other)) for other in (
                {"iterations": 1}, none
            ))  # fmt: skip
            assert same_plan(replace(kept, kept=first.kept), first)


@EACH_KERNEL
def test_plans_do_not_depend_on_the_number_of_threads(name: str, precision: str) -> None:
    problem = make_problem(PRESET_SIZES["small"], batch=3)
    for how in (SEARCHES["all"], ICEM | {"candidates": [200, 130, 40], "topk": 20}):
        given = search(problem, how) | {"precision": precision}
        with isa(name):
            with threads(1):
                alone = problem.plan(fused, **given)
            for count in (2, 3, 7):
                with threads(count):
                    assert same_plan(problem.plan(fused, **given), alone)


@EACH_KERNEL
@EACH_TRANSITION
def test_a_problem_alone_equals_its_row_of_a_batch(name: str, precision: str, sizes: Sizes) -> None:
    problem = make_problem(sizes, batch=4)
    for how in SEARCHES.values():
        given = search(problem, how) | {"precision": precision}
        with isa(name):
            whole = problem.plan(fused, **given)
            for row in (slice(b, b + 1) for b in range(4)):
                own = given | {"seed": row_seeds(1, 4)[row]}
                own |= {"kept": given["kept"][:, row]} if "kept" in given else {}
                assert same_plan(whole, problem.rows(row).plan(fused, **own), row)


@EACH_KERNEL
def test_a_cold_row_is_a_plan_to_which_nothing_was_kept(name: str, precision: str) -> None:
    problem = make_problem(TINY, 3)
    given = search(problem, SEARCHES["all"]) | {"precision": precision}
    with isa(name):
        warm = problem.plan(fused, **given)
        cold = problem.plan(fused, **(given | {"kept": None}))
    row = slice(1, 2)  # of all NaN
    assert same_plan(warm, replace(
        cold, mean=cold.mean[:, row], stddev=cold.stddev[:, row], kept=cold.kept[:, row],
        action=cold.action[row], best_return=cold.best_return[row],
    ), row)  # fmt: skip
    assert not torch.equal(warm.mean[:, 0], cold.mean[:, 0])


@EACH_KERNEL
def test_the_best_return_never_falls_where_the_best_are_kept(name: str, precision: str) -> None:
    how = {"keep": 1, "state_noise": False, "topk": 4, "precision": precision}
    counts, best = [50, *[5] * 7], []
    for sizes in (TINY, TINY_SSM):
        problem = make_problem(sizes, 3, seed=4)
        with isa(name):
            best = [
                problem.plan(fused, candidates=counts[:n], iterations=n, **how).best_return
                for n in range(1, 9)
            ]
        assert all((after >= before).all() for before, after in zip(best, best[1:], strict=False))


@EACH_KERNEL
def test_the_limits_of_the_temperature(name: str, precision: str) -> None:
    problem = make_problem(TINY, 2)
    how: dict[str, Any] = ONE | {"precision": precision}
    with isa(name):
        plans = {heat: problem.plan(fused, temperature=heat, **how) for heat in (1e-12, 1e12, None)}
        best = problem.plan(fused, **(how | {"topk": 1}))
    assert same_plan(plans[1e-12], best)
    assert close(plans[1e12].mean, plans[None].mean, 1e-9, REFIT_RELATIVE)
    assert close(plans[1e12].stddev, plans[None].stddev, 1e-9, REFIT_RELATIVE)


@EACH_KERNEL
def test_kept_sequences_that_are_not_finite_are_none(name: str, precision: str) -> None:
    """Whichever number of the first step is open."""
    problem = make_problem(TINY, 2)
    for entry in ((0, 0), (0, 1)):
        kept = sequences(HORIZON, 2, 4, 2).nan_to_num(nan=0.0)
        kept[entry[0], :, :, entry[1]] = float("nan")
        given = WARM | {"precision": precision, "kept": kept}
        with isa(name):
            assert same_plan(
                problem.plan(fused, **given), problem.plan(fused, **(given | {"kept": None}))
            )


@each_set_of("fp32")
@pytest.mark.parametrize("case", MORE)
def test_plans_match_golden(
    name: str, case: str, report_error: Callable[[str, float, float], None]
) -> None:
    with isa(name):
        test_golden.test_plan_matches_golden_after_every_iteration(fused, case, report_error)
