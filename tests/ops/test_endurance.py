"""Thousands of plans of a small problem, and hundreds of snapshots: no memory is lost."""

from __future__ import annotations

import ctypes
import gc
import sys
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from ops.fused_support import ISAS, KERNELS, isa, needs_extension, threads
from ops.step_calls import make_call, packs
from random_filters import inputs_for, make_filter_problem
from random_weights import PRESET_SIZES, TINY, Problem, make_problem
from torch.profiler import ProfilerActivity

from planet.ops import fused


class MallInfo(ctypes.Structure):
    """Figures of glibc's allocator: bytes lent to the program by heaps, and by mmap."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks",
            "fordblks", "keepcost",
        )
    ]  # fmt: skip


MALLINFO = getattr(ctypes.CDLL(None), "mallinfo2", None)
if MALLINFO is not None:
    MALLINFO.restype = MallInfo
# What Python may still take after the warm-up; 64 bytes lost by each of 2,000 plans, or a snapshot,
# would be more.
ALLOWED = 64 * 1024
# Of each precision the kernels of one set, which need not be the set that is chosen by itself.
LAST = [(name, precision) for precision, name in {p: name for name, p in KERNELS}.items()]

pytestmark = [
    needs_extension,
    pytest.mark.skipif(MALLINFO is None, reason="no allocator that counts"),
]


def lent_bytes() -> int:
    """Counts what is allocated and not yet freed, which no other program changes."""
    gc.collect()
    info = MALLINFO()  # type: ignore[misc]
    small = 64 * sys.getallocatedblocks()  # Python's own heap, about so much each
    return int(info.uordblks + info.hblkhd) + small


def growth(step: Callable[[int], None], count: int) -> int:
    """Bytes that are lent after `count` steps and were not after a tenth as many."""
    for i in range(count // 10):
        step(i)
    before = lent_bytes()
    for i in range(count // 10, count):
        step(i)
    return lent_bytes() - before


def plan(problem: Problem, precision: str, seed: int) -> None:
    mean, stddev = problem.distribution(2)
    fused.cem_plan(
        problem.weights, problem.latent, mean, stddev,
        seed=seed, candidates=40, topk=4, iterations=2, precision=precision,
    )  # fmt: skip


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize(("name", "precision"), LAST)
def test_many_plans_lose_no_memory(name: str, precision: str, count: int) -> None:
    problem = make_problem(TINY, batch=1)
    with isa(name), threads(count):
        assert growth(lambda seed: plan(problem, precision, seed), 2200) <= ALLOWED


@pytest.mark.parametrize(("name", "precision"), KERNELS)
def test_many_snapshots_lose_no_memory(name: str, precision: str) -> None:
    problem = make_problem(PRESET_SIZES["small"], batch=1)

    def snapshot_and_plan(seed: int) -> None:
        bias = problem.weights.prior_bias + seed
        plan(replace(problem, weights=replace(problem.weights, prior_bias=bias)), precision, seed)

    with isa(name):
        assert growth(snapshot_and_plan, 100) <= ALLOWED


@pytest.mark.parametrize(("name", "precision"), KERNELS)
def test_thousands_of_control_steps_lose_no_memory(name: str, precision: str) -> None:
    with isa(name), threads(2):
        call = make_call(batch=3, precision=precision, spans=40, iterations=1)
        arguments = [*(call.arguments | packs(call.weights, precision)).values()]
        assert growth(lambda _: torch.ops.planet.control_step(*arguments), 2000) < ALLOWED


@pytest.mark.parametrize("name", ISAS)
def test_hundreds_of_agent_snapshots_are_freed(name: str) -> None:
    problem = make_filter_problem(batch=2)

    def step(index: int) -> None:
        bias = problem.weights.posterior_bias + index
        inputs_for(replace(problem.weights, posterior_bias=bias), 2).step(fused)

    with isa(name):
        assert growth(step, 300) < ALLOWED


def test_a_control_step_allocates_no_tensor() -> None:
    call = make_call(batch=3, spans=40)
    arguments = [*(call.arguments | packs(call.weights, "fp32")).values()]
    with torch.profiler.profile(activities=[ProfilerActivity.CPU], profile_memory=True) as made:
        torch.ops.planet.control_step(*arguments)
    events = [event for event in made.events() if event.name.startswith("planet::")]
    assert [event.name for event in events] == ["planet::control_step"]
    assert all(event.cpu_memory_usage == 0 for event in made.events())
