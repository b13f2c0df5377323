"""What the compiled core refuses, and the words it uses."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from inspect import signature
from typing import Any

import pytest
import torch
from ops.fused_support import needs_extension
from random_weights import TINY, make_problem

from planet.latent import LatentState
from planet.noise import Noise
from planet.ops import backend, fused, kernels, reference

OPS = ("rollout_returns", "refit", "cem_plan")


@pytest.mark.parametrize("op", OPS)
def test_signatures_equal_the_reference(op: str) -> None:
    assert signature(getattr(fused, op)) == signature(getattr(reference, op))


WITHOUT_EXTENSION = """
import sys
sys.modules["planet._C"] = None
import torch, planet
from planet.ops import backend
from planet.build import build_info
info = build_info()
assert info["extension"] is False and info["reason"]
reference, fused = backend("reference"), backend("fused")
reference.refit(torch.zeros(1, 1, 3, 1), torch.zeros(1, 3), topk=1)
try:
    fused.refit(torch.zeros(1, 1, 3, 1), torch.zeros(1, 3), topk=1)
except ImportError as error:
    assert info["reason"] in str(error) and "reference" in str(error), error
else:
    raise SystemExit("fused worked without the extension")
"""


def test_without_the_extension_fused_says_why() -> None:
    subprocess.run([sys.executable, "-c", WITHOUT_EXTENSION], check=True, timeout=1800)


Call = Callable[[], Any]


def calls() -> dict[str, tuple[Call, type[Exception], str]]:
    """Wrong calls: what is called, what it raises, and what the message says."""
    problem = make_problem(TINY, batch=2)  # D=5, S=3, A=2
    weights, latent = problem.weights, problem.latent
    actions, noise = problem.actions(3, 10), problem.noise(3, 10)
    mean, stddev = problem.distribution(3)
    returns = torch.zeros(2, 10)

    def rollout(**changes: Any) -> Call:
        arguments = {"weights": weights, "latent": latent, "actions": actions, "noise": noise}
        return lambda: fused.rollout_returns(**(arguments | changes))

    def refit(**changes: Any) -> Call:
        return lambda: fused.refit(
            **({"actions": actions, "returns": returns, "topk": 3} | changes)
        )

    def plan(**changes: Any) -> Call:
        arguments = {
            "weights": weights, "latent": latent, "mean": mean, "stddev": stddev, "seed": 0,
            "candidates": 10, "topk": 3, "iterations": 1,
        }  # fmt: skip
        return lambda: fused.cem_plan(**(arguments | changes))

    value, kind = ValueError, TypeError
    return {
        "actions rank": (rollout(actions=actions[0]), value, r"actions: expected shape \[H, B"),
        "actions width": (
            rollout(actions=torch.zeros(3, 2, 10, 5)),
            value,
            r"actions: expected shape \[3, 2, 10, 2\].*got \[3, 2, 10, 5\]",
        ),
        "actions dtype": (rollout(actions=actions.double()), kind, "actions: .*float32.*float64"),
        "actions empty": (rollout(actions=actions[:0]), value, "actions: expected sizes >= 1"),
        "actions type": (rollout(actions=[1.0]), kind, "actions: expected a tensor"),
        "actions device": (rollout(actions=actions.to("meta")), value, "actions: .*cpu.*meta"),
        "noise shape": (rollout(noise=noise[:, :, :9]), value, r"noise: .*\[3, 2, 10, 3\]"),
        "noise type": (rollout(noise=1.5), kind, "noise: expected Noise"),
        "noise seed": (
            rollout(noise=Noise(torch.zeros(3, dtype=torch.int64))),
            value,
            r"seed: .*\[B=2\].*\[3\]",
        ),
        "belief": (
            rollout(latent=LatentState(latent.belief[:1], latent.state)),
            value,
            r"latent.belief: expected shape \[2, 5\]",
        ),
        "state": (
            rollout(latent=LatentState(latent.belief, latent.state[:, None])),
            value,
            "latent.state: ",
        ),
        "discount": (rollout(discount=float("nan")), value, "discount: expected a finite"),
        "precision": (rollout(precision="fp4"), value, "precision: expected .*'int8'.*got 'fp4'"),
        "weights": (rollout(weights=None), kind, "weights: expected RolloutWeights"),
        "topk above": (refit(topk=11), value, "topk: expected 1 <= K <= J=10, got 11"),
        "topk zero": (refit(topk=0), value, "topk: .*got 0"),
        "topk float": (refit(topk=2.0), kind, "topk: expected an int"),
        "returns shape": (refit(returns=returns[:, :9]), value, r"returns: .*\[2, 10\].*\[2, 9\]"),
        "spread": (refit(spread="sample"), value, "spread: .*population.*got 'sample'"),
        "spread topk": (refit(spread="mean_absolute", topk=1), value, "topk: expected K >= 2"),
        "epsilon": (refit(epsilon=-1.0), value, "epsilon: .*got -1.0"),
        "stddev": (plan(stddev=stddev[:2]), value, r"stddev: expected shape \[3, 2, 2\]"),
        "candidates": (plan(candidates=0, topk=0), value, "candidates: .*got 0"),
        "huge": (plan(candidates=2**31 - 1), value, "candidates: "),
        "too many": (plan(candidates=2**31), value, "candidates: "),
        "iterations": (plan(iterations=0), value, "iterations: .*got 0"),
        "first_iteration": (plan(first_iteration=65536), value, "first_iteration: .*got 65536"),
        "seed range": (plan(seed=2**64), value, "seed: expected a value in"),
        "seed type": (plan(seed=1.0), kind, "seed: expected an int"),
        "seed tensor": (plan(seed=torch.zeros(2)), kind, "seed: expected an int64 tensor"),
        "low": (plan(low=torch.zeros(3)), value, r"low: .*\[A=2\].*got \[3\]"),
        "bounds": (plan(low=1.0, high=-1.0), value, "low: expected a value <= high"),
        "budget": (plan(budget_ms=0.0), value, "budget_ms: expected a value > 0"),
    }


@needs_extension
@pytest.mark.parametrize("name", list(calls()))
def test_errors_name_argument_expected_and_received(name: str) -> None:
    call, kind, message = calls()[name]
    with pytest.raises(kind, match=message):
        call()


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
    model = fused._KERNELS["cpu"].model(problem.weights, "fp32")
    packed, sizes, _, isa, _ = model
    belief, state = problem.latent.belief, problem.latent.state
    actions, seeds = problem.actions(3, 10), torch.zeros(2, dtype=torch.int64)
    mean, stddev = problem.distribution(3)
    bound = torch.zeros(2, 2)
    ops = torch.ops.planet
    rest = (None, seeds, 0, 0, 1.0)

    def rollout(index: int, value: object) -> Call:
        arguments: list[Any] = [*model, belief, state, actions, *rest]
        arguments[index] = value
        return lambda: ops.rollout_returns(*arguments)

    def plan(index: int, value: object) -> Call:
        arguments: list[Any] = [
            *model, belief, state, mean, stddev, seeds, bound, bound, 10, 3, 1, 0, 0, 1e-6, True,
            1.0, None,
        ]  # fmt: skip
        arguments[index] = value
        return lambda: ops.cem_plan(*arguments)

    tensors = kernels.tensors(problem.weights)
    return {
        "packed": (rollout(0, packed[1:].contiguous()), "packed: expected shape"),
        "sizes short": (rollout(1, sizes[:5]), "sizes: expected"),
        "sizes long": (rollout(1, sizes + [1, 1, 1]), "sizes: expected"),
        "sizes zero": (rollout(1, [sizes[0], 0, *sizes[2:]]), "sizes: expected a value in"),
        "sizes negative": (rollout(1, [-1, *sizes[1:]]), "sizes: expected a value in"),
        "sizes other": (rollout(1, [6, *sizes[1:]]), "packed: expected shape"),
        "sizes last": (rollout(1, [*sizes[:-1], 2]), "reward widths"),
        "kernel": (rollout(3, 99), "kernel: expected"),
        "precision": (rollout(4, 2), "precision: expected"),
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
        "plan mean": (plan(7, mean[0]), "mean: expected"),
        "plan stddev": (plan(8, stddev[:1]), "stddev: expected"),
        "plan low": (plan(10, bound[0]), "low: expected"),
        "plan candidates": (plan(12, 2**40), "candidates: expected"),
        "plan topk": (plan(13, 11), "topk: expected"),
        "plan iterations": (plan(14, 65537), "iterations: expected"),
        "plan first": (plan(15, -1), "first_iteration: expected"),
        "plan spread": (plan(16, 2), "spread: expected"),
        "plan epsilon": (plan(17, float("nan")), "epsilon: expected"),
        "refit topk": (lambda: ops.refit(actions, bound, 0, 0, 0.0), "topk: expected"),
        "refit returns": (lambda: ops.refit(actions, bound, 1, 0, 0.0), "returns: expected"),
        "refit spread": (
            lambda: ops.refit(actions, torch.zeros(2, 10), 1, 1, 0.0),
            "topk: expected",
        ),
        "pack": (lambda: ops.pack_weights(tensors[:-1], sizes, isa, 0), "tensors: expected"),
        "pack shape": (lambda: ops.pack_weights(tensors[::-1], sizes, isa, 0), "input_weight: "),
        "normals": (lambda: ops.normals(seeds, 0, 1, 0, 0, 0, 0, isa), "candidates: expected"),
        "normals dims": (lambda: ops.normals(seeds, 1, 513, 0, 0, 0, 0, isa), "dims: expected"),
        "normals seeds": (lambda: ops.normals(seeds[:0], 1, 1, 0, 0, 0, 0, isa), "seeds: expected"),
    }


@needs_extension
@pytest.mark.parametrize("name", list(raw_calls()) if fused._C is not None else [])
def test_the_binding_refuses_what_memory_safety_needs(name: str) -> None:
    call, message = raw_calls()[name]
    with pytest.raises(RuntimeError, match=message):
        call()


def test_backends_are_named() -> None:
    assert backend("fused") is fused
    with pytest.raises(ValueError, match="backend: expected one of .*fused.*got 'cuda'"):
        backend("cuda")
