"""Times whole plans on a GPU: the compiled planner's CUDA graphs against PyTorch's best forms.

Every variant is checked before it is timed: returns against the reference's on the CPU, and for the
compiled planner the graph's plan against the eager one, bit for bit, after its outputs were
poisoned. All variants of a batch size take turns in one process and read the same rotating inputs.
Rates count useful operations only: two per weight, step, candidate and iteration.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from baselines.torch_cem import TorchCEM
from cem.cases import Size, UnavailableError, model
from gpu.device_timing import gpu_state, interleave, product_rates, synchronise
from torch import Tensor

from planet.acting.cuda_graph import capture
from planet.latent import LatentState
from planet.ops import fused, reference

PROBLEMS = (1, 8, 64, 256)
COMPILED = (1, 64)  # numbers of problems for which torch.compile runs too: it takes minutes
SETS = 8
OURS = ("fp32", "fp16", "bf16", "fp16 persistent", "bf16 persistent")
TOLERANCES = {"fp32": 1e-5, "tf32": 5e-3, "fp16": 2e-3, "bf16": 1.5e-2}
"""Relative L2 error of returns of a random model at the default scale."""

TORCH_FP16 = 1e-2  # sums of gates and rewards are rounded to fp16 there, too
_DTYPES = {"fp32": torch.float32, "tf32": torch.float32, "fp16": torch.float16}
Report = Callable[[str], None]


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

    def check_against_eager(self, name: str) -> None:
        """Compares the graph's plan with one that is computed now.

        Raises:
          SystemExit: they differ.
        """
        for index in range(SETS):
            self.prepare(index)
            if self.result is not None and self._graph is not None:
                self.result.mean.fill_(torch.nan)
            self.run()
            expected = self._how(self.latent, self.seeds)
            if not torch.equal(self.result.mean, expected.mean):
                raise SystemExit(f"{name}: the graph's plan differs from the eager one, not timed")


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
            error = self._check(name, rollout, TOLERANCES[precision])
            case = Case(self.inputs, plan, True, precision)
        except (ValueError, ImportError) as refusal:
            raise UnavailableError(str(refusal)) from refusal
        case.check_against_eager(name)
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
            error = self._check(name, planner.rollout, tolerance, whole)
        case = Case(self.inputs, plan, how != "eager", precision)
        if not torch.isfinite(case.result.mean).all():
            raise SystemExit(f"{name}: the plan is not finite, not timed")
        return case, error

    def _check(
        self, name: str, rollout: Callable[..., Tensor], tolerance: float, whole: bool = False
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
        expected = reference.rollout_returns(self.weights, few, actions[:, rows], noise[:, rows])
        error = float((got[rows] - expected).norm() / expected.norm())
        if not error <= tolerance:
            raise SystemExit(f"{name}: returns are wrong by {error:.1e}, not timed: {size}")
        return error


def measure_size(
    size: Size, device: torch.device, seconds: float, compiled: bool, report: Report
) -> dict[str, Any]:
    """Times of all variants at one size, their rates, and what could not run."""
    bench = Bench(size, device)
    names = [*OURS, "torch eager fp32", *(f"torch graph {p}" for p in _DTYPES)]
    names += ["torch compile tf32", "torch compile fp16"] if compiled else []
    cases, errors, missing, first = {}, {}, {}, {}
    for name in names:
        began = time.perf_counter()
        try:
            make = bench.torchs if name.startswith("torch") else bench.ours
            cases[name], errors[name] = make(name)
            first[name] = time.perf_counter() - began
        except (UnavailableError, RuntimeError) as error:  # out of memory, no compiler, ...
            missing[name] = str(error).splitlines()[0]
        report(f"B={size.batch}, {name}: {missing.get(name, 'checked')}")
    out: dict[str, Any] = {"size": size.to_dict(), "errors": errors, "missing": missing}
    out["first_seconds"] = first
    if not cases:
        return out
    out["state_before"] = gpu_state()
    samples = interleave(cases, device, seconds, SETS)
    out["state_after"] = gpu_state()
    out["times"] = {name: samples.summary(name) for name in cases}
    products = product_rates(device, *(() if device.type == "cuda" else (128, 2)))
    out["product_tflops"] = products
    out["tflops"] = {
        name: 2e-9 * size.multiply_adds / times["median_ms"] for name, times in out["times"].items()
    }
    out["share_of_bf16_product"] = {k: v / products["bf16"] for k, v in out["tflops"].items()}
    ours = [name for name in cases if name in OURS]
    out["ratios"] = {
        f"{slow} / {fast}": samples.ratio(slow, fast)
        for slow in cases if slow.startswith("torch") for fast in ours
    }  # fmt: skip
    return out


def measure(
    device: torch.device, size: Size, problems: list[int], seconds: float, compiled: bool,
    report: Report,
) -> dict[str, Any]:  # fmt: skip
    """All sizes; `seconds` of sampling each."""
    results = {}
    for batch in problems:
        with_compiler = compiled and batch in COMPILED
        case = replace(size, batch=batch)
        results[str(batch)] = measure_size(case, device, seconds, with_compiler, report)
        if device.type == "cuda":
            torch.cuda.empty_cache()
        for line in lines({str(batch): results[str(batch)]}):
            report(line)
    return results


def lines(results: dict[str, Any]) -> list[str]:
    """The table as text."""
    head = ("problems", "variant", "median", "p10", "p90 ms", "TFLOP/s", "of bf16")
    out = ["{:>8}  {:18}{:>9}{:>9}{:>9}{:>9}{:>9}".format(*head)]
    for batch, result in results.items():
        for name, times in result.get("times", {}).items():
            share = result["share_of_bf16_product"][name]
            out.append(
                f"{batch:>8}  {name:18}{times['median_ms']:9.3f}{times['p10_ms']:9.3f}"
                f"{times['p90_ms']:9.3f}{result['tflops'][name]:9.1f}{share:9.1%}"
            )
        out += [
            f"{batch:>8}  {name:18}not measured: {why}" for name, why in result["missing"].items()
        ]
    return out
