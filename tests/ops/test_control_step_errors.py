"""Raw ops of a control step refuse what would not be safe, without Python's checks before them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from ops.fused_support import BUILT, needs_extension
from ops.step_calls import make_call, packs
from random_filters import FilterProblem, make_filter, make_filter_problem
from random_weights import TINY_SSM, make_weights
from torch import Tensor

from planet.ops import fused
from planet.ops.kernels import KERNELS, sizes, tensors

pytestmark = needs_extension


def shifted(like: Tensor, offset: int = 4) -> Tensor:
    """Copies bytes to where they are not aligned to 64."""
    memory = torch.zeros(like.numel() + 128, dtype=torch.uint8)
    first = -memory.data_ptr() % 64 + offset
    out = memory[first : first + like.numel()]
    out.copy_(like)
    return out


def strided(like: Tensor) -> Tensor:
    return torch.stack([like, like], dim=-1)[..., 0]


CALL = make_call(batch=2, horizon=4, spans=8, keep=3, mix=torch.eye(4), shift=1) if BUILT else None
PROBLEM = make_filter_problem(batch=2)
FLOATS = {
    "action": [2, 2], "belief": [2, 5], "state": [2, 3], "low": [2, 2], "high": [2, 2],
    "first_mean": [2, 2], "first_stddev": [2, 2], "next_belief": [2, 5], "next_state": [2, 3],
    "mean": [4, 2, 2], "stddev": [4, 2, 2], "best_return": [2], "next_action": [2, 2],
    "past_mean": [4, 2, 2], "past_kept": [4, 2, 3, 2], "mix": [4, 4], "kept": [4, 2, 3, 2],
    "planned": [2, 2],
}  # fmt: skip
OTHERS = {
    "frames": ([2, 9, 9, 3], "uint8"), "episode_seeds": ([2], "int64"), "steps": ([2], "int64"),
    "finite": ([2], "uint8"), "spans": ([9, 5], "int64"),
}  # fmt: skip
SHAPES = {name: (shape, "float32") for name, shape in FLOATS.items()} | OTHERS


def run(**changes: Any) -> None:
    assert CALL is not None
    CALL.run(**changes)


def test_what_the_mistakes_start_from_is_right() -> None:
    run()
    assert CALL is not None
    for name, (shape, dtype) in SHAPES.items():
        assert list(CALL[name].shape) == shape
        assert str(CALL[name].dtype) == f"torch.{dtype}"


@pytest.mark.parametrize("name", SHAPES)
def test_a_wrong_tensor_is_refused_by_name(name: str) -> None:
    assert CALL is not None
    right = CALL[name]
    wrong_type = torch.float64 if right.is_floating_point() else torch.int32
    wrong = [right.to(wrong_type), right.bool(), strided(right), right[None], right.to_sparse()]
    wrong += [right.narrow(dim, 0, 0) for dim in range(right.dim())]
    if name not in ("spans", "mean"):  # whose length is a number of its own
        wrong += [right[:1], torch.cat([right, right])]
    if right.dim() > 1:
        wrong += [right[..., :1], torch.cat([right, right], dim=-1), right.mT]
    before = CALL.outputs()
    for tensor in wrong:
        if tensor.shape == right.shape and tensor.dtype == right.dtype and tensor.is_contiguous():
            continue
        with pytest.raises(RuntimeError) as error:
            run(**{name: tensor})
        if tensor.layout != torch.strided:  # PyTorch knows no kernel for it
            continue
        # B, H and E are those of frames, mean and kept: others are the next argument's mistake.
        sizes = tensor.dtype == right.dtype and tensor.dim() == right.dim()
        said = str(error.value)
        assert said.startswith(f"{name}:") or (sizes and name in ("frames", "mean", "kept"))
    after = CALL.outputs()
    assert all(after[key].equal(before[key]) for key in after)


NUMBERS = [
    ("encoder", [], "encoder: expected two numbers and three for each of 0 to 16 layers"),
    ("encoder", [9, 5, 4, 4], "encoder: expected two numbers and three"),
    ("encoder", [9, 5, *[1, 1, 1] * 17], "encoder: expected two numbers and three"),
    ("encoder", [0, 5], r"encoder \(image size\): expected a value in \[1, 1024\], got 0"),
    ("encoder", [1025, 5], r"encoder \(image size\): expected"),
    ("encoder", [9, 0], r"encoder \(bit depth\): expected a value in \[1, 8\], got 0"),
    ("encoder", [9, 9], r"encoder \(bit depth\): expected"),
    ("encoder", [9, 5, 0, 1, 1], r"encoder \(channels\): expected a value in \[1, 4096\], got 0"),
    ("encoder", [9, 5, 4097, 1, 1], r"encoder \(channels\): expected"),
    ("encoder", [9, 5, 4, 10, 1], r"encoder \(kernel\): expected a value in \[1, 9\], got 10"),
    ("encoder", [9, 5, 4, 4, 2, 3, 4, 1], r"encoder \(kernel\): expected a value in \[1, 3\]"),
    ("encoder", [9, 5, 4, 4, 0], r"encoder \(stride\): expected a value in \[1, 2147483647\]"),
    ("encoder", [9, 5, 4, 4, 2**31], r"encoder \(stride\): expected"),
    ("encoder", [9, 5, 4, 4, 2, 4, 2, 1], "filter_packed: expected shape"),
    ("encoder", [-(2**63), 2**63 - 1], r"encoder \(image size\): expected"),
    ("sizes", [0, 3, 2, 7, 0, 0, 6, 4, 1], r"sizes \(D\): expected a value in \[1, 512\], got 0"),
    ("sizes", [5, 3, 2], "sizes: expected"),
    ("sizes", [5, 3, 2, 8, 0, 0, 6, 4, 1], "packed: expected shape"),
    ("isa", -1, "isa: expected a value in"),
    ("isa", 99, "isa: expected a value in"),
    ("precision", 2, "precision: there are no fp16 kernels for"),
    ("precision", 4, r"precision: expected a value in \[0, 3\], got 4"),
    ("candidates", [0], "candidates: expected a value in"),
    ("candidates", [2**31], "candidates: expected a value in"),
    ("candidates", [2**31 - 4], r"workspace \(bytes\): expected a value in"),
    ("candidates", [40, 40], r"candidates \(length\): expected a value in \[3, 3\], got 2"),
    ("candidates", [], r"candidates \(length\): expected a value in"),
    ("candidates", [40, 5, 40], r"topk: expected a value in \[1, 5\], got 6"),
    ("topk", 0, r"topk: expected a value in \[1, 40\], got 0"),
    ("topk", 41, "topk: expected a value in"),
    ("iterations", 0, "iterations: expected a value in"),
    ("iterations", 65537, "iterations: expected a value in"),
    ("spread", 2, "spread: expected a value in"),
    ("epsilon", -1.0, "epsilon: expected a finite value >= 0"),
    ("epsilon", float("nan"), "epsilon: expected a finite value >= 0"),
    ("momentum", 1.0, r"momentum: expected a value in \[0, 1\), got 1"),
    ("temperature", 0.0, "temperature: expected a finite value > 0, got 0"),
    ("output", 2, r"output: expected a value in \[0, 1\], got 2"),
    ("shift", 3, r"shift: expected a value in \[0, 2\], got 3"),
    ("shift", -1, "shift: expected a value in"),
]


@pytest.mark.parametrize(("name", "value", "message"), NUMBERS, ids=[str(n[:2]) for n in NUMBERS])
def test_a_wrong_number_is_refused_by_name(name: str, value: object, message: str) -> None:
    with pytest.raises(RuntimeError, match=message):
        run(**{name: value})


def test_memory_that_is_not_aligned_or_not_bytes_is_refused() -> None:
    assert CALL is not None
    given = packs(CALL.weights, "fp32") | {"workspace": CALL["workspace"]}
    for name in ("filter_packed", "packed", "workspace"):
        right = given[name]
        with pytest.raises(RuntimeError, match=f"^{name}: expected data aligned to 64 bytes"):
            run(**{name: shifted(right)})
        for wrong in (right[:64], right[None], right[:0], right.float(), strided(right)):
            with pytest.raises(RuntimeError, match=rf"^{name}\b"):
                run(**{name: wrong})
    with pytest.raises(RuntimeError, match="filter_packed: expected shape"):
        run(filter_packed=torch.cat([given["filter_packed"]] * 2))


# ---- filter_step and pack_filter ----


def filter_call(problem: FilterProblem, **changes: Any) -> Any:
    packed, encoder = KERNELS["cpu"].filter_model(problem.weights)  # type: ignore[union-attr]
    rollout = problem.weights.rollout
    arguments = {
        "filter_packed": packed, "encoder": encoder, "sizes": sizes(rollout), "min_stddev": 0.1,
        "isa": fused._C.isa(), "frames": problem.observation, "seeds": problem.seeds,
        "action": problem.action, "belief": problem.latent.belief, "state": problem.latent.state,
    }  # fmt: skip
    return torch.ops.planet.filter_step(*(arguments | changes).values())


FILTER_TENSORS = ["frames", "seeds", "action", "belief", "state"]


@pytest.mark.parametrize("name", FILTER_TENSORS)
def test_a_wrong_tensor_of_a_filter_step_is_refused_by_name(name: str) -> None:
    filter_call(PROBLEM)
    parts = [PROBLEM.observation, PROBLEM.seeds, PROBLEM.action, *vars(PROBLEM.latent).values()]
    right = dict(zip(FILTER_TENSORS, parts, strict=True))[name]
    for wrong in (right.double(), right[None], strided(right), right[:0], right[..., :1].clone()):
        if wrong.shape == right.shape and wrong.is_contiguous() and wrong.dtype == right.dtype:
            continue
        with pytest.raises(RuntimeError, match=f"^{name}"):
            filter_call(PROBLEM, **{name: wrong})


def pack_call(**changes: Any) -> Any:
    weights = make_filter()
    encoder = KERNELS["cpu"].filter_model(weights)[1]  # type: ignore[union-attr]
    arguments: dict[str, Any] = {
        "tensors": list(weights.named_tensors(rollout=False).values()),
        "rollout": tensors(weights.rollout), "encoder": encoder,
        "sizes": sizes(weights.rollout), "isa": fused._C.isa(),
    }  # fmt: skip
    return torch.ops.planet.pack_filter(*(arguments | changes).values())


def test_tensors_that_are_no_agent_s_are_not_packed() -> None:
    weights = make_filter()
    right = list(weights.named_tensors(rollout=False).values())
    assert pack_call().equal(pack_call(tensors=right))
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"tensors": []}, r"tensors: expected a value in \[8, 8\], got 0"),
        ({"tensors": right[:-1]}, "tensors: expected a value in"),
        ({"tensors": right[::-1]}, r"encoder_weights.*: expected shape \[4, 3, 4, 4\], got \[6\]"),
        ({"tensors": [right[0].double(), *right[1:]]}, "encoder_weights.*: expected dtype float32"),
        ({"tensors": [right[0].mT, *right[1:]]}, "encoder_weights.*: expected a contiguous"),
        ({"rollout": []}, "tensors: expected a value in"),
        ({"rollout": tensors(make_weights(TINY_SSM))}, "tensors: expected a value in"),
        ({"sizes": sizes(make_weights(TINY_SSM))}, r"sizes \(D\): expected"),
        ({"encoder": [12, 5, 4, 4, 2, 3, 2, 1]}, "posterior_hidden_weight: expected shape"),
        ({"encoder": [1024, 8, *[4096, 1, 1] * 16]}, "tensors: expected a value in"),
        ({"isa": 99}, "isa: expected"),
    ]
    for change, message in wrong:
        with pytest.raises(RuntimeError, match=message):
            pack_call(**change)


# ---- the size of the workspace ----


def workspace_of(**changes: Any) -> int:
    arguments: dict[str, Any] = {
        "encoder": [9, 5, 4, 4, 2, 3, 2, 1], "sizes": [5, 3, 2, 7, 0, 0, 6, 4, 1], "isa": 0,
        "precision": 0, "horizon": 4, "batch": 2, "candidates": 40, "topk": 6, "keep": 0,
        "mixed": 0, "threads": 2,
    } | changes  # fmt: skip
    size: int = fused._C.control_step_workspace(*arguments.values())
    return size


def test_the_workspace_grows_with_what_it_is_for() -> None:
    least = workspace_of()
    for name in ("batch", "candidates", "threads"):
        assert workspace_of(**{name: 1 << 16}) > least
    assert workspace_of(horizon=65535) >= least
    for more in ({"keep": 6}, {"mixed": 1}):
        assert workspace_of(**more, horizon=65535) > workspace_of(**more) >= least


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"horizon": 0}, "horizon: expected a value in"),
        ({"horizon": 65536}, "horizon: expected a value in"),
        ({"batch": 0}, "batch: expected a value in"),
        ({"batch": 2**31}, "batch: expected a value in"),
        ({"candidates": 0}, "candidates: expected a value in"),
        ({"topk": 41}, "topk: expected a value in"),
        ({"keep": 7}, r"keep: expected a value in \[0, 6\], got 7"),
        ({"mixed": 2}, r"mixed: expected a value in \[0, 1\], got 2"),
        ({"threads": 0}, "threads: expected a value in"),
        ({"threads": 65537}, "threads: expected a value in"),
        ({"precision": 7}, "precision: expected a value in"),
        ({"candidates": 2**31 - 1, "keep": 1}, r"keep: expected a value in \[0, 0\], got 1"),
        ({"batch": 2**31 - 1, "candidates": 2**31 - 1}, "fewer rows or candidates"),
        ({"batch": 2**31 - 1, "encoder": [1024, 5, 4096, 1, 1]}, "fewer rows or candidates"),
        ({"batch": 2**29, "encoder": [1024, 5, *[4096, 1, 1] * 16]}, "fewer rows or candidates"),
    ],
    ids=str,
)
def test_sizes_of_no_workspace_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(RuntimeError, match=message):
        workspace_of(**changes)
