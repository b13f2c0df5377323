"""Runs the CUDA path of the fused backend on a GPU, and without one in the emulator."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from ops.cuda import emulated
from ops.cuda.support import Device, needs_gpu

from planet.ops import fused


@pytest.fixture(params=["emulated", pytest.param("cuda", marks=needs_gpu)])
def device(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Device:
    """Gives each device in turn; `planet.ops.fused` runs CUDA implementations for its tensors."""
    if request.param == "cuda":
        return Device("cuda", "cuda")
    if reason := emulated.missing():
        pytest.skip(reason)
    if fused._C is None:
        pytest.skip("the compiled core is not built")
    monkeypatch.setitem(fused._KERNELS, "cpu", emulated.EmulatedKernels())
    return Device("emulated", "cpu")


@pytest.fixture(autouse=True)
def poison() -> Iterator[None]:
    """Outputs and workspace begin as NaN: torch then fills whatever memory it makes."""
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = True
    yield
    torch.use_deterministic_algorithms(before)
