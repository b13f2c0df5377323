"""Runs the CUDA path of the fused backend on a GPU, and without one in the emulator."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import torch
from ops.cuda import emulated
from ops.cuda.support import Device, needs_gpu


@pytest.fixture(params=["emulated", pytest.param("cuda", marks=needs_gpu)])
def device(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Device:
    """Gives each device in turn; `planet.ops.fused` runs CUDA implementations for its tensors."""
    if request.param == "cuda":
        return Device("cuda", "cuda")
    emulated.stand_in(monkeypatch)
    return Device("emulated", "cpu")


@pytest.fixture(autouse=True)
def switched_off(request: pytest.FixtureRequest) -> None:
    """Leaves out what runs persistent kernels on a GPU where PLANET_NO_PERSISTENT says why."""
    parameters = getattr(getattr(request.node, "callspec", None), "params", {})
    why = os.environ.get("PLANET_NO_PERSISTENT")
    on_gpu = parameters.get("device", "cuda") == "cuda"
    if why and on_gpu and parameters.get("variant") == "persistent":
        pytest.skip(f"PLANET_NO_PERSISTENT: {why}")


@pytest.fixture(autouse=True)
def poison() -> Iterator[None]:
    """Outputs and workspace begin as NaN: torch then fills whatever memory it makes."""
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = True
    yield
    torch.use_deterministic_algorithms(before)
