"""Refusals of the compiled core, and their words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from ops.fused_support import needs_extension
from random_weights import TINY, make_problem
from torch import Tensor

from planet.ops import fused, kernels

Call = Callable[[], Any]


@needs_extension
def test_more_candidates_than_any_memory_holds_are_refused_by_name() -> None:
    problem = make_problem(TINY, batch=2)
    start = problem.weights, problem.latent, *problem.distribution(3)
    with pytest.raises(ValueError, match="^candidates: "):
        fused.cem_plan(*start, seed=0, candidates=2**31 - 1, topk=3, iterations=1)


@needs_extension
@pytest.mark.parametrize("how", [{"keep": 1}, {"mix": torch.eye(3)}])
def test_actions_that_are_written_count_for_the_memory(
    monkeypatch: pytest.MonkeyPatch, how: dict[str, Any]
) -> None:
    problem = make_problem(TINY, batch=2)
    monkeypatch.setattr(kernels.KERNELS["cpu"], "_memory", 100_000)
    plan = {"horizon": 3, "candidates": 2000, "topk": 3}
    problem.plan(fused, **plan)
    with pytest.raises(ValueError, match="^candidates: .*memory"):
        problem.plan(fused, **plan, **how)


@needs_extension
def test_other_devices_are_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = make_problem(TINY, batch=1)
    monkeypatch.setattr(type(problem.weights), "device", torch.device("meta"))
    latent = replace(
        problem.latent,
        belief=problem.latent.belief.to("meta"),
        state=problem.latent.state.to("meta"),
    )
    actions = problem.actions(2, 5).to("meta")
    with pytest.raises(
        ValueError, match="weights: .*no rollout_returns kernel for meta.*reference"
    ):
        fused.rollout_returns(problem.weights, latent, actions, None)
    mean = actions[:, :, 0]
    with pytest.raises(ValueError, match="weights: .*no cem_plan kernel for meta.*reference"):
        fused.cem_plan(
            problem.weights, latent, mean, mean,
            seed=torch.zeros(1, dtype=torch.int64, device="meta"),
            candidates=5, topk=2, iterations=1,
        )  # fmt: skip


def raw_calls() -> dict[str, tuple[Call, str]]:
    """Calls past Python's checks: the binding must keep memory safe by itself."""
    problem = make_problem(TINY, batch=2)
    model = kernels.KERNELS["cpu"].model(problem.weights, "fp32")
    packed, sizes, _, isa, _ = model
    belief, state = problem.latent.belief, problem.latent.state
    actions, seeds = problem.actions(3, 10), torch.zeros(2, dtype=torch.int64)
    ops = torch.ops.planet
    rest = (None, seeds, 0, 0, 1.0)

    def rollout(index: int, value: object) -> Call:
        arguments: list[Any] = [*model, belief, state, actions, *rest]
        arguments[index] = value
        return lambda: ops.rollout_returns(*arguments)

    tensors = kernels.tensors(problem.weights)
    return {
        "packed": (rollout(0, packed[1:].contiguous()), "packed: expected shape"),
        "sizes short": (rollout(1, sizes[:5]), "sizes: expected"),
        "sizes long": (rollout(1, sizes + [1, 1, 1]), "sizes: expected"),
        "sizes zero": (rollout(1, [sizes[0], 0, *sizes[2:]]), "sizes: expected a value in"),
        "sizes negative": (rollout(1, [-1, *sizes[1:]]), "sizes: expected a value in"),
        "sizes other": (rollout(1, [6, *sizes[1:]]), "packed: expected shape"),
        "sizes last": (rollout(1, [*sizes[:-1], 3]), "reward widths"),
        "isa": (rollout(3, 99), "isa: expected a value in"),
        "no isa": (rollout(3, None), "isa: expected an instruction set .*got None"),
        "precision": (rollout(4, 4), r"precision: expected a value in \[0, 3\], got 4"),
        "precision of isa": (
            lambda: ops.pack_weights(tensors, sizes, 0, 1),
            "precision: there are no int8 kernels for",
        ),
        "belief": (rollout(5, belief[:1]), r"belief: expected shape \[2, 5\], got \[1, 5\]"),
        "belief strides": (rollout(5, belief.t().contiguous().t()), "belief: .*contiguous"),
        "state dtype": (rollout(6, state.double()), "state: expected dtype float32"),
        "actions": (rollout(7, actions[0]), "actions: expected"),
        "noise": (rollout(8, actions), r"noise: expected shape \[3, 2, 10, 3\]"),
        "seeds": (rollout(9, seeds.float()), "seeds: expected dtype int64"),
        "seeds shape": (rollout(9, seeds[:1]), "seeds: expected shape"),
        "iteration": (rollout(10, 65536), "iteration: expected"),
        "particle": (rollout(11, -1), "particle: expected"),
        "pack": (lambda: ops.pack_weights(tensors[:-1], sizes, isa, 0), "tensors: expected"),
        "pack shape": (lambda: ops.pack_weights(tensors[::-1], sizes, isa, 0), "input_weight: "),
        "normals": (lambda: ops.normals(seeds, 0, 1, 0, 0, 0, 0, isa), "candidates: expected"),
        "normals dims": (lambda: ops.normals(seeds, 1, 513, 0, 0, 0, 0, isa), "dims: expected"),
        "normals seeds": (lambda: ops.normals(seeds[:0], 1, 1, 0, 0, 0, 0, isa), "seeds: expected"),
    }


def planning_calls() -> dict[str, tuple[Call, str]]:
    """Calls of plans and refits, likewise."""
    problem = make_problem(TINY, batch=2)
    model = kernels.KERNELS["cpu"].model(problem.weights, "fp32")
    belief, state = problem.latent.belief, problem.latent.state
    actions, seeds = problem.actions(3, 10), torch.zeros(2, dtype=torch.int64)
    mean, stddev = problem.distribution(3)
    bound, ops = torch.zeros(2, 2), torch.ops.planet

    def plan(index: int, value: object) -> Call:
        arguments: list[Any] = [
            *model, belief, state, mean, stddev, seeds, bound, bound, [10], 3, 1, 0, 0, 1e-6, True,
            1.0, None, 0, None, None, 0, 0.0, None, 0,
        ]  # fmt: skip
        arguments[index] = value
        return lambda: ops.cem_plan(*arguments)

    def refit(**change: object) -> Call:
        given = {"actions": actions, "returns": torch.zeros(2, 10), "topk": 1, "spread": 0}
        return lambda: ops.refit(**(given | {"epsilon": 0.0, "temperature": None} | change))

    return {
        "plan mean": (plan(7, mean[0]), "mean: expected"),
        "plan stddev": (plan(8, stddev[:1]), "stddev: expected"),
        "plan low": (plan(10, bound[0]), "low: expected"),
        "plan candidates": (plan(12, [2**40]), "candidates: expected"),
        "plan counts": (plan(12, [10, 10]), r"candidates \(length\): expected"),
        "plan no counts": (plan(12, []), r"candidates \(length\): expected"),
        "plan one count": (plan(12, [0]), "candidates: expected"),
        "plan topk": (plan(13, 11), "topk: expected"),
        "plan iterations": (plan(14, 65537), "iterations: expected"),
        "plan first": (plan(15, -1), "first_iteration: expected"),
        "plan spread": (plan(16, 2), "spread: expected"),
        "plan epsilon": (plan(17, float("nan")), "epsilon: expected"),
        "plan epsilon infinite": (plan(17, float("inf")), "epsilon: expected a finite"),
        "plan variant": (plan(21, 1), r"variant: expected a value in \[0, 0\], got 1"),
        "plan mix": (plan(22, mean), "mix: expected"),
        "plan mix shape": (plan(22, torch.eye(4)), r"mix: expected shape \[3, 3\]"),
        "plan kept": (plan(23, actions), r"kept: expected shape \[3, 2, 0, 2\]"),
        "plan keep": (plan(24, 4), "keep: expected"),
        "plan momentum": (plan(25, 1.0), "momentum: expected"),
        "plan momentum NaN": (plan(25, float("nan")), "momentum: expected"),
        "plan temperature NaN": (plan(26, float("nan")), "temperature: expected"),
        "plan temperature infinite": (plan(26, float("inf")), "temperature: expected a finite"),
        "plan output": (plan(27, 2), "output: expected"),
        "refit topk": (refit(topk=0), "topk: expected"),
        "refit returns": (refit(returns=bound), "returns: expected"),
        "refit spread": (refit(spread=1), "topk: expected"),
        "refit temperature": (refit(temperature=-1.0), "temperature: expected"),
        "refit both": (refit(topk=2, spread=1, temperature=1.0), "temperature: expected none"),
    }


def packing_calls() -> dict[str, tuple[Call, str]]:
    """Calls that pack into a tensor which is there."""
    weights = make_problem(TINY, batch=2).weights
    all_tensors = kernels.tensors(weights)
    packed, sizes, _, isa, _ = kernels.KERNELS["cpu"].model(weights, "fp32")
    spare = torch.zeros(2 * len(packed) + 64, dtype=torch.uint8)
    first = -spare.data_ptr() % 64 + 4

    def repack(to: Tensor, isa: int | None = isa, tensors: list[Tensor] = all_tensors) -> Call:
        return lambda: torch.ops.planet.pack_weights_(to, tensors, sizes, isa, 0)

    return {
        "repack": (repack(packed[:-64]), "packed: expected shape"),
        "repack dtype": (repack(packed.float()), "packed: expected dtype uint8"),
        "repack strides": (repack(spare[: 2 * len(packed) : 2]), "packed: .* contiguous"),
        "repack alignment": (repack(spare[first : first + len(packed)]), "packed: .* 64 bytes"),
        "repack isa": (repack(packed, None), "isa: expected an instruction set .*got None"),
        "repack tensors": (repack(packed, isa, [packed]), "tensors: expected"),
    }


RAW_CALLS = raw_calls() | planning_calls() | packing_calls() if fused._C is not None else {}


@needs_extension
@pytest.mark.parametrize("name", RAW_CALLS)
def test_the_binding_refuses_what_memory_safety_needs(name: str) -> None:
    call, message = RAW_CALLS[name]
    with pytest.raises(RuntimeError, match=message):
        call()
