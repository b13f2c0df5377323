"""Serves the tests of the CUDA path."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from random_weights import Problem
from torch import Tensor

from planet.ops import fused
from planet.protocols import Plan

TENSORS = ("action", "mean", "stddev", "best_return")


def why_no_gpu() -> str | None:
    """Says what a GPU's tests lack here."""
    if fused._C is None:
        return "the compiled core is not built"
    if not torch.cuda.is_available():
        return "no GPU"
    info = fused._C.build_info()["cuda"]
    return None if info["compiled"] else "the compiled core was built without CUDA"


NO_GPU = why_no_gpu()
needs_gpu = pytest.mark.skipif(NO_GPU is not None, reason=str(NO_GPU))


@dataclass(frozen=True)
class Device:
    """Is where a test runs the kernels.

    Attributes:
      name: "emulated" or "cuda".
      place: the tensors' device.
    """

    name: str
    place: str

    @property
    def emulated(self) -> bool:
        """Whether it is slow: some million times."""
        return self.name == "emulated"

    def move(self, problem: Problem) -> Problem:
        """Moves a problem to this device; what it draws stays on the CPU."""
        latent = problem.latent.to(self.place)
        return replace(problem, weights=problem.weights.to(self.place), latent=latent)

    def to(self, value: Any) -> Any:
        """Moves a tensor to this device; None stays None."""
        return None if value is None else value.to(self.place)


def rollout(
    device: Device, problem: Problem, actions: Tensor, noise: Any, **settings: Any
) -> Tensor:
    """Returns [B, J] on the CPU; everything else is moved to the device."""
    there = device.move(problem)
    if isinstance(noise, Tensor):
        noise = device.to(noise)
    got = fused.rollout_returns(there.weights, there.latent, device.to(actions), noise, **settings)
    return got.cpu()


def plan(device: Device, problem: Problem, mean: Tensor, stddev: Tensor, **settings: Any) -> Plan:
    """Plans on the device; the plan's tensors are on the CPU."""
    there = device.move(problem)
    settings = {k: device.to(v) if isinstance(v, Tensor) else v for k, v in settings.items()}
    got = fused.cem_plan(
        there.weights, there.latent, device.to(mean), device.to(stddev), **settings
    )
    return Plan(*(getattr(got, name).cpu() for name in TENSORS), got.iterations, got.kept.cpu())
