"""Refusals of the CUDA path, word for word."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from ops.cuda.support import Device, needs_gpu, plan
from random_weights import TINY, Sizes, make_problem

from planet.errors import advice
from planet.noise import Noise, row_seeds
from planet.ops import fused
from planet.ops.kernels import KERNELS, CudaKernels, sizes, tensors

CUDA = torch.device("cuda:0")


def extension(**cuda: Any) -> Any:
    return SimpleNamespace(build_info=lambda: {"cuda": cuda})


def test_an_extension_without_cuda_says_how_to_get_it() -> None:
    kernels = CudaKernels(extension(compiled=False, devices=0, status="built without"))
    with pytest.raises(ValueError) as error:
        kernels.check("weights", CUDA)
    assert str(error.value) == (
        "weights: backend='fused' was built without CUDA, got tensors on cuda:0; reinstall planet "
        f"from source with the CUDA toolkit on PATH ({advice.rebuild(cuda=True)}), or use "
        "backend='reference'"
    )


@pytest.mark.parametrize(
    "status",
    [
        "the NVIDIA driver is too old: it supports CUDA 12.4, this build needs CUDA 13.0 or newer; "
        "update the driver",
        "no NVIDIA driver found",
    ],
)
def test_a_device_that_the_extension_cannot_use_is_explained(status: str) -> None:
    kernels = CudaKernels(extension(compiled=True, devices=0, status=status, toolkit="13.0"))
    with pytest.raises(ValueError) as error:
        kernels.check("actions", CUDA)
    assert str(error.value) == (
        f"actions: backend='fused' cannot use cuda:0: {status} (its kernels were built with CUDA "
        "13.0), or use backend='reference'"
    )


def test_what_is_served_is_asked_once() -> None:
    asked = []

    def build_info() -> dict[str, Any]:
        asked.append(1)
        return {"cuda": {"compiled": True, "devices": 1, "status": "ok"}}

    kernels = CudaKernels(SimpleNamespace(build_info=build_info))
    for _ in range(3):
        kernels.check("weights", CUDA)
    assert len(asked) == 1


@pytest.mark.parametrize(
    ("words", "kind", "message"),
    [
        ("memory: could not allocate 12 MiB on cuda:0; expected", torch.OutOfMemoryError,
         "memory: could not allocate 12 MiB"),
        ("variant: 'persistent' does not serve this plan", ValueError, "variant: 'persistent'"),
        ("device: this GPU is too old: the planner needs", ValueError, "device: this GPU is too"),
        ("cem_plan: an illegal memory access was encountered", RuntimeError, "cem_plan: an ill"),
    ],
)  # fmt: skip
def test_errors_of_the_binding_have_python_s_kinds(
    words: str, kind: type[Exception], message: str
) -> None:
    def op() -> None:
        raise RuntimeError(words + "\nException raised from nowhere")

    kernels = CudaKernels(None)
    kernels.ops = SimpleNamespace(op=op)
    with pytest.raises(kind, match=message) as error:
        kernels.call("op")
    assert type(error.value) is kind


def test_a_snapshot_is_packed_once_and_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    packed, waited, recorded = [], [], []
    tensor = SimpleNamespace(record_stream=lambda stream: recorded.append(stream.cuda_stream))
    kernels = CudaKernels(None)
    into: list[tuple[object, int]] = []
    kernels.ops = SimpleNamespace(
        pack_weights=lambda *_: packed.append(1) or tensor,
        pack_weights_=lambda *given: into.append((given[0], given[-1])),
    )
    streams = {
        handle: SimpleNamespace(cuda_stream=handle, synchronize=lambda: waited.append(1))
        for handle in (1, 2)
    }
    current, capturing = [1], [False]
    monkeypatch.setattr(kernels, "_current_stream", lambda device: streams[current[0]])
    monkeypatch.setattr(kernels, "_capturing", lambda: capturing[0])
    weights = make_problem(TINY, 1).weights
    for handle, precision in ((1, "fp16"), (2, "fp16"), (1, "fp16"), (1, "bf16")):
        current[0] = handle
        assert kernels.model(weights, precision)[0] is tensor
    assert (len(packed), len(waited), recorded) == (2, 2, [2])
    newer, kept = make_problem(TINY, 1, seed=1).weights, dict(weights._cache)
    kernels.repack(weights, newer)
    assert into == [(tensor, 2), (tensor, 3)] and len(waited) == 3 and weights._cache == kept
    capturing[0] = True
    kernels.model(weights, "fp16")  # packed already
    with pytest.raises(RuntimeError) as error:
        kernels.model(weights, "fp32")
    assert str(error.value) == (
        "weights: a snapshot is packed when it is first used, which a CUDA graph cannot capture; "
        "plan once with these weights and precision='fp32' before the capture"
    )
    with pytest.raises(ValueError, match=r"seed: expected an int64 tensor \[B=2\] on cuda:0 while"):
        kernels.seeds(3, 2, CUDA)


def test_int8_is_refused_by_name(device: Device) -> None:
    problem = device.move(make_problem(TINY, 1))
    with pytest.raises(ValueError) as error:
        fused.rollout_returns(
            problem.weights, problem.latent, device.to(problem.actions(1, 2)), None,
            precision="int8",
        )  # fmt: skip
    assert str(error.value) == (
        f"precision: 'int8' has no kernels on {problem.weights.device}; use 'fp32', 'fp16' or "
        "'bf16', or use backend='reference'"
    )


def test_a_cpu_refuses_the_persistent_variant() -> None:
    if fused._C is None:
        pytest.skip("the compiled core is not built")
    problem = make_problem(TINY, 1)
    with pytest.raises(ValueError) as error:
        fused.cem_plan(
            problem.weights, problem.latent, *problem.distribution(2), seed=0, candidates=5,
            topk=2, iterations=1, variant="persistent",
        )  # fmt: skip
    assert str(error.value) == ("variant: 'persistent' has no kernels on cpu; use 'portable'")


def test_a_plan_that_the_persistent_variant_does_not_serve_is_refused(device: Device) -> None:
    problem = make_problem(Sizes(500, 60, 6, 500, (300,)), 1)
    with pytest.raises(ValueError) as error:
        plan(device, problem, *problem.distribution(2), seed=0, candidates=5, topk=2, iterations=1,
             precision="fp16", variant="persistent")  # fmt: skip
    assert str(error.value).startswith("variant: 'persistent' does not serve this plan on ")
    assert str(error.value).endswith("; use 'portable'")


def test_a_budget_is_refused_by_the_binding(device: Device) -> None:
    call = raw_plan(device, budget=5.0)
    with pytest.raises(RuntimeError, match="budget_ms: only available on cpu"):
        call()


def raw_plan(device: Device, **changes: Any) -> Any:
    """Makes a call of the op past Python's checks."""
    problem = device.move(make_problem(TINY, 2))
    kernels = KERNELS[device.place]
    mean, stddev = (device.to(x) for x in problem.distribution(3))
    bound = device.to(torch.zeros(2, 2))
    names, model = ("packed", "sizes", "least", "isa", "precision"), problem.weights
    arguments: dict[str, Any] = dict(zip(names, kernels.model(model, "fp16"), strict=True)) | {
        "belief": problem.latent.belief, "state": problem.latent.state, "mean": mean,
        "stddev": stddev, "seeds": device.to(row_seeds(0, 2)), "low": bound, "high": bound + 1,
        "candidates": [10], "topk": 3, "iterations": 1, "first": 0, "spread": 0, "epsilon": 1e-6,
        "noise": True, "discount": 1.0, "budget": None, "variant": 0, "mix": None, "kept": None,
        "keep": 0, "momentum": 0.0, "temperature": None, "output": 0,
    }  # fmt: skip
    return lambda: kernels.call("cem_plan", *(arguments | changes).values())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"variant": 2}, r"variant: expected a value in \[0, 1\], got 2"),
        ({"isa": 0}, "isa: expected None for tensors on a CUDA device, got 0"),
        ({"precision": 1}, "precision: there are no int8 kernels for CUDA devices"),
        ({"precision": 3, "packed": None}, "packed: expected shape"),
        ({"sizes": [5, 3, 2, 7, 0, 0, 6, 1]}, "packed: expected shape"),
        ({"sizes": [5, 3, 2, 7, 0, 2, 6, 1]}, r"sizes \(clamp_stddev\): expected a value in"),
        ({"seeds": "short"}, r"seeds: expected shape \[2\], got \[1\]"),
        ({"topk": 11}, "topk: expected"),
        ({"low": "strided"}, "low: expected a contiguous tensor"),
        ({"packed": "shifted"}, "packed: expected data aligned to 256 bytes"),
        ({"candidates": [10, 10]}, r"candidates \(length\): expected a value in \[1, 1\], got 2"),
        ({"candidates": [2]}, "topk: expected a value in"),
        ({"mix": "strided"}, r"mix: expected shape \[3, 3\], got \[2, 2\]"),
        ({"kept": "strided"}, r"kept: expected "),
        ({"keep": 4}, r"keep: expected a value in \[0, 3\], got 4"),
        ({"momentum": 1.0}, r"momentum: expected a value in \[0, 1\), got 1"),
        ({"temperature": 0.0}, "temperature: expected a finite value > 0, got 0"),
        ({"temperature": 1.0, "spread": 1}, "temperature: expected none with this spread"),
        ({"output": 2}, r"output: expected a value in \[0, 1\], got 2"),
    ],
    ids=lambda x: str(x)[:30],
)
def test_the_binding_keeps_memory_safe_by_itself(
    device: Device, change: dict[str, Any], message: str
) -> None:
    weights = device.move(make_problem(TINY, 2)).weights
    packed = KERNELS[device.place].model(weights, "fp16")[0]
    shifted = torch.zeros(len(packed) + 512, dtype=torch.uint8, device=packed.device)
    offset = (-shifted.data_ptr()) % 256 + 16
    values = {
        None: packed[:-16].clone(),
        "short": device.to(row_seeds(0, 1)),
        "strided": device.to(torch.zeros(2, 4))[:, ::2],
        "shifted": shifted[offset : offset + len(packed)],
    }
    change = {k: values[v] if v is None or isinstance(v, str) else v for k, v in change.items()}
    with pytest.raises((RuntimeError, ValueError), match=message):
        raw_plan(device, **change)()


def test_the_op_itself_is_sound(device: Device) -> None:
    assert raw_plan(device)()[5].item() == 1
    problem = device.move(make_problem(TINY, 1))
    kernels = KERNELS[device.place]
    given = tensors(problem.weights), sizes(problem.weights)
    with pytest.raises(RuntimeError, match="isa: expected None for .*, got 1"):
        kernels.call("pack_weights", *given, 1, 2)
    packed = kernels.call("pack_weights", *given, None, 2)
    spare = torch.zeros(len(packed) + 512, dtype=torch.uint8, device=packed.device)
    first = -spare.data_ptr() % 256 + 64
    for to, isa, message in (
        (packed, 1, "isa: expected None for .*, got 1"),
        (packed[1:].contiguous(), None, "packed: expected shape"),
        (packed.float(), None, "packed: expected dtype uint8"),
        (spare[first : first + len(packed)], None, "packed: expected data aligned to 256 bytes"),
        (packed[:1].expand(len(packed)), None, "packed: expected a contiguous tensor"),
    ):
        with pytest.raises(RuntimeError, match=message):
            kernels.call("pack_weights_", to, *given, isa, 2)


@needs_gpu
def test_weights_are_packed_on_their_device_alone() -> None:
    problem, kernels = Device("cuda", "cuda").move(make_problem(TINY, 1)), KERNELS["cuda"]
    given = tensors(problem.weights), sizes(problem.weights), None, 2
    packed = kernels.call("pack_weights", *given)
    with pytest.raises(RuntimeError, match="packed: expected a tensor on cuda:0, got cpu"):
        kernels.call("pack_weights_", packed.cpu(), *given)


@needs_gpu
def test_mixed_devices_are_named() -> None:
    problem = make_problem(TINY, 1)
    there = Device("cuda", "cuda").move(problem)
    actions = problem.actions(2, 5)
    for arguments, words in (
        ((there.weights, there.latent, actions, None), "actions: expected device cuda:0, got cpu"),
        ((there.weights, problem.latent, actions.cuda(), None),
         "latent.belief: expected device cuda:0, got cpu"),
        ((there.weights, there.latent, actions.cuda(), Noise(row_seeds(0, 1))),
         "noise.seed: expected device cuda:0, got cpu"),
        ((problem.weights, problem.latent, actions.cuda(), None),
         "actions: expected device cpu, got cuda:0"),
    ):  # fmt: skip
        with pytest.raises(ValueError) as error:
            fused.rollout_returns(*arguments)
        assert str(error.value) == words
    with pytest.raises(RuntimeError, match="belief: expected a tensor on cuda:0, got cpu"):
        model = KERNELS["cuda"].model(there.weights, "fp32")
        torch.ops.planet.rollout_returns(
            *model, problem.latent.belief, there.latent.state, actions.cuda(), None, None, 0, 0, 1.0
        )


@needs_gpu
def test_too_little_memory_is_named() -> None:
    problem = make_problem(TINY, 1)
    there = Device("cuda", "cuda").move(problem)
    free, _ = torch.cuda.mem_get_info()
    filler = torch.empty(free - (600 << 20), dtype=torch.uint8, device="cuda")
    try:
        with pytest.raises(torch.OutOfMemoryError, match="memory: could not allocate .* MiB on cu"):
            fused.cem_plan(
                replace(there).weights, there.latent,
                *(x.cuda() for x in problem.distribution(1)), seed=0, candidates=2**31 - 1,
                topk=1, iterations=1,
            )  # fmt: skip
    finally:
        del filler
        torch.cuda.empty_cache()
