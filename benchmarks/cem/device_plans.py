"""Makes the plans that are timed on a GPU: where they start, how they run, how they are checked.

A plan of the compiled planner is right when its returns are the reference's on the CPU, and when
its CUDA graph plans as the eager form does, bit for bit, also after its outputs were poisoned.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from baselines.torch_cem import TorchCEM
from cem.cases import Size, UnavailableError, model
from gpu.device_timing import synchronise
from torch import Tensor

from planet.acting.cuda_graph import capture
from planet.latent import LatentState
from planet.ops import fused, reference

SETS = 8
TOLERANCES = {"fp32": 1e-5, "tf32": 5e-3, "fp16": 2e-3, "bf16": 1.5e-2}
"""Relative L2 error of returns of a random model at the default scale."""

TORCH_FP16 = 1e-2  # sums of gates and rewards are rounded to fp16 there, too
_DTYPES = {"fp32": torch.float32, "tf32": torch.float32, "fp16": torch.float16}


class WrongError(Exception):
    """A variant computes something else; the message says what."""


@dataclass(frozen=True)
class Inputs:
    """Holds where plans start: latents [sets, B, ...] and seeds [sets, B]."""

    belief: Tensor
    state: Tensor
    seeds: Tensor

    @staticmethod
    def random(size: Size, device: torch.device) -> Inputs:
        """Sets of latents and seeds."""
        generator = torch.Generator().manual_seed(1)
        belief = torch.rand(SETS, size.batch, size.belief, generator=generator) * 1.6 - 0.8
        state = torch.randn(SETS, size.batch, size.state, generator=generator)
        seeds = torch.randint(1 << 62, (SETS, size.batch), generator=generator)
        return Inputs(belief.to(device), state.to(device), seeds.to(device))


class Case:
    """Plans of one size from static inputs; `run` replays or repeats `plan`."""

    def __init__(
        self, inputs: Inputs, how: Callable[..., Any], graph: bool, precision: str
    ) -> None:
        self._inputs, self._how, self._precision = inputs, how, precision
        self.latent = LatentState(inputs.belief[0].clone(), inputs.state[0].clone())
        self.seeds = inputs.seeds[0].clone()
        self.result: Any = None
        device = self.seeds.device
        with _products(precision):
            self._graph = capture(self._plan, device) if graph else None
            self.run()
        synchronise(device)

    def _plan(self) -> None:
        self.result = self._how(self.latent, self.seeds)

    def prepare(self, index: int) -> None:
        """See `device_timing.Timed`."""
        self.latent.belief.copy_(self._inputs.belief[index])
        self.latent.state.copy_(self._inputs.state[index])
        self.seeds.copy_(self._inputs.seeds[index])

    def run(self) -> None:
        """See `device_timing.Timed`."""
        if self._graph is not None:
            self._graph.replay()
            return
        with _products(self._precision):
            self._plan()

    def check_against_eager(self) -> None:
        """Compares the graph's plan with one that is computed now.

        Raises:
          WrongError: they differ.
        """
        for index in range(SETS):
            self.prepare(index)
            if self.result is not None and self._graph is not None:
                self.result.mean.fill_(torch.nan)
            self.run()
            expected = self._how(self.latent, self.seeds)
            if not torch.equal(self.result.mean, expected.mean):
                raise WrongError("the graph's plan differs from the eager one")


@contextlib.contextmanager
def _products(precision: str) -> Iterator[None]:
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


class Bench:
    """The variants of one size."""

    def __init__(self, size: Size, device: torch.device) -> None:
        self.size, self.device = size, device
        self.weights = model(replace(size, horizon=0, iterations=0, candidates=0, topk=0, batch=0))
        self.on_device = self.weights.to(device)
        self.inputs = Inputs.random(size, device)
        self._expected: dict[int, Tensor] = {}  # returns by number of candidates
        self.settings = {
            "candidates": size.candidates, "topk": size.topk, "iterations": size.iterations,
        }  # fmt: skip

    def ours(self, name: str) -> tuple[Case, float]:
        """A plan of the compiled core, captured; `name` is precision and variant."""
        precision, _, variant = name.partition(" ")

        def rollout(*arguments: Any) -> Tensor:
            return fused.rollout_returns(self.on_device, *arguments, precision=precision)

        shape = (self.size.horizon, self.size.batch, self.size.action)
        mean = torch.zeros(shape, device=self.device)
        stddev = torch.ones_like(mean)

        def plan(latent: LatentState, seeds: Tensor) -> Any:
            return fused.cem_plan(
                self.on_device, latent, mean, stddev, seed=seeds, precision=precision,
                variant=variant or "portable", **self.settings,
            )  # fmt: skip

        try:
            error = self._check(rollout, TOLERANCES[precision])
            case = Case(self.inputs, plan, True, precision)
        except (ValueError, ImportError) as refusal:
            raise UnavailableError(str(refusal)) from refusal
        case.check_against_eager()
        return case, error

    def torchs(self, name: str) -> tuple[Case, float]:
        """A plan of PyTorch; `name` is "torch", how ("eager", "graph", "compile") and precision."""
        _, how, precision = name.split()
        form = "compile" if how == "compile" else "cell"
        planner = TorchCEM(self.on_device, form, rows=1 << 31, dtype=_DTYPES[precision])

        def plan(latent: LatentState, seeds: Tensor) -> Any:
            return planner.plan(latent, horizon=self.size.horizon, **self.settings)

        if how == "compile" and self.device.type != "cuda":
            raise UnavailableError("the compiled form is measured on GPUs")
        tolerance = TORCH_FP16 if precision == "fp16" else TOLERANCES[precision]
        with _products(precision):
            # The compiler compiles for one shape: the one that is timed.
            whole = how == "compile"
            error = self._check(planner.rollout, tolerance, whole)
        case = Case(self.inputs, plan, how != "eager", precision)
        if not torch.isfinite(case.result.mean).all():
            raise WrongError("the plan is not finite")
        return case, error

    def _check(
        self, rollout: Callable[..., Tensor], tolerance: float, whole: bool = False
    ) -> float:
        size = self.size
        candidates = size.candidates if whole else max(2, min(size.candidates, 200 // size.batch))
        generator = torch.Generator().manual_seed(2)
        shape = (size.horizon, size.batch, candidates)
        actions = torch.rand(*shape, size.action, generator=generator) * 2 - 1
        noise = torch.randn(*shape, size.state, generator=generator)
        latent = LatentState(self.inputs.belief[0], self.inputs.state[0])
        got = rollout(latent, actions.to(self.device), noise.to(self.device)).cpu()
        rows = slice(None, max(1, 2000 // candidates))  # of a whole batch, as much as a check needs
        few = LatentState(latent.belief[rows].cpu(), latent.state[rows].cpu())
        if candidates not in self._expected:
            self._expected[candidates] = reference.rollout_returns(
                self.weights, few, actions[:, rows], noise[:, rows]
            )
        expected = self._expected[candidates]
        error = float((got[rows] - expected).norm() / expected.norm())
        if not error <= tolerance:
            raise WrongError(f"returns are wrong by {error:.1e}: {size}")
        return error
