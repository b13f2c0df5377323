"""Ten thousand plans of a small problem, and a thousand snapshots: the process does not grow."""

from __future__ import annotations

import gc
import resource
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from ops.fused_support import KERNELS, isa, needs_extension, threads
from random_weights import PRESET_SIZES, TINY, Problem, make_problem

from planet.ops import fused

STATM = Path("/proc/self/statm")
# What allocator and interpreter may still take after the warm-up; 64 bytes lost by each of 10,000
# plans, or a few snapshots, would be more.
ALLOWED = 512 * 1024

pytestmark = [
    needs_extension,
    pytest.mark.skipif(not STATM.exists(), reason="no /proc"),
]


def resident_bytes() -> int:
    return int(STATM.read_text().split()[1]) * resource.getpagesize()


def growth(step: Callable[[int], None], count: int) -> int:
    """Bytes by which the process grows in `count` steps after a tenth as many."""
    for i in range(count // 10):
        step(i)
    gc.collect()
    before = resident_bytes()
    for i in range(count // 10, count):
        step(i)
    gc.collect()
    return resident_bytes() - before


def plan(problem: Problem, precision: str, seed: int) -> None:
    mean, stddev = problem.distribution(2)
    fused.cem_plan(
        problem.weights, problem.latent, mean, stddev,
        seed=seed, candidates=40, topk=4, iterations=2, precision=precision,
    )  # fmt: skip


# Two threads that wait for each other are slow where other programs keep the cores busy.
@pytest.mark.parametrize(("count", "plans"), [(1, 10_000), (2, 1_000), (3, 10_000)])
@pytest.mark.parametrize("precision", sorted({precision for _, precision in KERNELS}))
def test_many_plans_do_not_make_the_process_larger(precision: str, count: int, plans: int) -> None:
    problem = make_problem(TINY, batch=1)
    with threads(count):
        grown = growth(lambda seed: plan(problem, precision, seed), plans)
    assert grown <= ALLOWED


@pytest.mark.parametrize(("name", "precision"), KERNELS)
def test_a_thousand_snapshots_do_not_make_the_process_larger(name: str, precision: str) -> None:
    problem = make_problem(PRESET_SIZES["small"], batch=1)

    def snapshot_and_plan(seed: int) -> None:
        bias = problem.weights.prior_bias + seed
        plan(replace(problem, weights=replace(problem.weights, prior_bias=bias)), precision, seed)

    with isa(name):
        assert growth(snapshot_and_plan, 1000) <= ALLOWED
