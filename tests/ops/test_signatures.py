"""Both backends take the same arguments and refuse the same mistakes with the same words."""

from __future__ import annotations

import inspect
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from ops.mistakes import GOOD, LATENT, REFUSED, WEIGHTS

from planet.noise import Noise
from planet.ops import BACKENDS, backend, fused, reference

OPS = ("filter_step", "rollout_returns", "refit", "cem_plan")


@pytest.mark.parametrize("name", OPS)
def test_signatures_are_equal_down_to_defaults_and_annotations(name: str) -> None:
    expected = inspect.signature(getattr(reference, name))
    got = inspect.signature(getattr(fused, name))
    assert got == expected
    for one, other in zip(got.parameters.values(), expected.parameters.values(), strict=True):
        assert (one.name, one.kind, one.annotation) == (other.name, other.kind, other.annotation)
        assert repr(one.default) == repr(other.default)
    assert got.return_annotation == expected.return_annotation


def test_backends_are_found_by_name() -> None:
    assert backend("reference") is reference
    assert backend("fused") is fused
    assert list(BACKENDS) == ["reference", "fused"]
    with pytest.raises(ValueError) as error:
        backend("cuda")
    assert str(error.value) == "backend: expected one of ['fused', 'reference'], got 'cuda'"


CASES = [(op, *case) for op, cases in REFUSED.items() for case in cases]


@pytest.mark.parametrize(
    ("op", "change", "kind", "message"), CASES, ids=[f"{op}: {m}" for op, _, _, m in CASES]
)
def test_a_mistake_is_refused_with_argument_expected_and_received(
    each_backend: list[ModuleType],
    op: str,
    change: dict[str, Any],
    kind: type[Exception],
    message: str,
) -> None:
    for ops in each_backend:
        with pytest.raises(kind) as error:
            getattr(ops, op)(**(GOOD[op] | change))
        assert str(error.value) == message


def test_numpy_s_numbers_are_taken_as_python_s(ops: ModuleType) -> None:
    given = {
        "seed": np.int64(3), "candidates": np.int32(8), "topk": np.uint8(3),
        "iterations": np.int64(2), "first_iteration": np.int16(1), "low": np.float32(-0.5),
        "high": np.float64(0.75), "epsilon": np.float64(0.25), "state_noise": np.bool_(True),
        "discount": np.float32(0.5), "budget_ms": np.float32(1e6),
    }  # fmt: skip
    plain = {name: value.item() for name, value in given.items()}
    plans = [ops.cem_plan(**(GOOD["cem_plan"] | numbers)) for numbers in (given, plain)]
    assert torch.equal(plans[0].mean, plans[1].mean)
    assert torch.equal(plans[0].best_return, plans[1].best_return)
    returns = [
        ops.rollout_returns(
            **GOOD["rollout_returns"] | {"discount": discount, "noise": Noise(*noise)}
        )
        for discount, noise in (
            (np.float32(0.5), (np.int64(3), np.int8(1), np.uint32(2**31))), (0.5, (3, 1, 2**31))
        )
    ]  # fmt: skip
    assert torch.equal(*returns)
    refits = [
        ops.refit(**GOOD["refit"] | {"topk": topk, "epsilon": epsilon})
        for topk, epsilon in ((np.int64(2), np.float32(0.5)), (2, 0.5))
    ]
    assert torch.equal(refits[0].stddev, refits[1].stddev)


@pytest.mark.parametrize("kind", ["float64", "float16", "int64", "uint8", "longdouble"])
def test_bounds_are_taken_in_every_form_and_type(ops: ModuleType, kind: str) -> None:
    low, high = [[0, 1], [2, 1]], [4, 2]
    forms: list[tuple[Any, Any]] = [
        (low, high), (tuple(low), np.array(high, kind)),
        (np.array(low, kind)[:, ::-1][:, ::-1], np.array(high, f">{np.dtype(kind).str[1:]}")),
    ]  # fmt: skip
    if kind != "longdouble":
        forms.append((torch.tensor(low, dtype=getattr(torch, kind)), high))
    expected = ops.cem_plan(
        **GOOD["cem_plan"] | {"low": torch.tensor(low).float(), "high": torch.tensor(high).float()}
    )
    for lower, upper in forms:
        plan = ops.cem_plan(**GOOD["cem_plan"] | {"low": lower, "high": upper})
        assert torch.equal(plan.mean, expected.mean)


def test_bounds_are_rounded_to_the_nearest_float32(ops: ModuleType) -> None:
    """As Gymnasium's boxes are; a fixed action is that number."""
    fixed = [0.1, 1.0 / 3.0]
    plan = ops.cem_plan(**GOOD["cem_plan"] | {"low": fixed, "high": np.array(fixed)})
    assert torch.equal(plan.mean, torch.tensor(fixed).expand_as(plan.mean))


@pytest.mark.parametrize("op", OPS)
def test_what_the_mistakes_start_from_is_right(ops: ModuleType, op: str) -> None:
    getattr(ops, op)(**GOOD[op])


def test_every_argument_of_every_op_is_refused_at_least_once() -> None:
    for op in OPS:
        changed = {name for change, *_ in REFUSED[op] for name in change}
        assert changed == set(inspect.signature(getattr(reference, op)).parameters)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_budget_is_refused_on_cuda() -> None:
    good = GOOD["cem_plan"] | {"weights": WEIGHTS.to("cuda"), "latent": LATENT.to("cuda")}
    good |= {name: good[name].to("cuda") for name in ("mean", "stddev")}
    with pytest.raises(ValueError, match="budget_ms: only available on cpu"):
        reference.cem_plan(**good, budget_ms=5.0)
