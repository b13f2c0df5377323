"""Lists what the planner's benchmarks plan: sizes, random models, variants by name."""

from __future__ import annotations

import contextlib
import functools
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from baselines.torch_cem import BASELINES, COMPILED, PIECE, TorchCEM
from cem.sampling import Call
from precision.likeness import elite_overlap, exact_returns, relative_l2
from torch import Tensor

from planet.config.presets import PRESETS
from planet.latent import LatentState
from planet.ops import fused, reference
from planet.weights.random import random_weights
from planet.weights.rollout_weights import RolloutWeights

PRECISIONS = ("fp32", "int8", "bf16")
TOLERANCES = {"fp32": 2e-6, "int8": 2e-2, "bf16": 1.5e-2}
"""Relative L2 error of returns against float64, of a random model at the default scale."""

LEAST_OVERLAP = 0.9  # of elites with float64's, but for one

TORCH = {
    form if precision == "fp32" else f"{form} {precision}": (form, precision)
    for precision, forms in BASELINES.items()
    for form in forms
}
"""Names of PyTorch's planners: form and precision."""

_DTYPES = {"fp32": torch.float32, "int8": torch.float32, "bf16": torch.bfloat16}
_ANY_PLAN = {"horizon": 0, "iterations": 0, "candidates": 0, "topk": 0, "batch": 0}


class UnavailableError(Exception):
    """A variant cannot run here; the message says why."""


@dataclass(frozen=True)
class Size:
    """Planning problems of one shape; letters as everywhere."""

    horizon: int
    iterations: int
    candidates: int
    topk: int
    action: int
    belief: int
    state: int
    hidden: int
    reward: tuple[int, ...]
    activation: str = "relu"
    batch: int = 1

    @staticmethod
    def of_preset(name: str, action: int = 6) -> Size:
        """Model and planner of a preset, with the cheetah's six actions."""
        config = PRESETS[name]("cheetah-run")
        model, planner = config.model, config.planner
        return Size(
            planner.horizon,
            planner.iterations,
            planner.candidates,
            planner.topk,
            action,
            model.belief_size,
            model.state_size,
            model.hidden_size,
            (model.reward_hidden,) * model.reward_layers,
            model.activation,
        )

    def with_candidates(self, candidates: int) -> Size:
        """Keeps the share of elites."""
        topk = max(1, self.topk * candidates // self.candidates)
        return replace(self, candidates=candidates, topk=topk)

    @property
    def weights(self) -> int:
        """Entries of all matrices: the multiply-adds of a candidate's step."""
        d, s, a, m = self.belief, self.state, self.action, self.hidden
        widths = [d + s, *self.reward, 1]
        reward = sum(i * o for i, o in zip(widths, widths[1:], strict=False))
        return m * (s + a) + 3 * d * (d + m) + m * d + 2 * s * m + reward

    @property
    def multiply_adds(self) -> int:
        """Counts those of one plan."""
        return self.weights * self.horizon * self.iterations * self.candidates * self.batch

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {**asdict(self), "multiply_adds": self.multiply_adds}


@dataclass(frozen=True)
class Variant:
    """A way to plan, checked.

    Attributes:
      plan: plans once.
      error: of its returns against float64's; see TOLERANCES.
      overlap: of its elites with those of float64.
      first_seconds: that its first rollout took: packing, tracing, compiling.
    """

    plan: Call
    error: float
    overlap: float
    first_seconds: float


@functools.cache
def model(size: Size) -> RolloutWeights:
    """A random model of that size; the planning sizes do not matter."""
    config = replace(
        PRESETS["paper"]("cheetah-run").model,
        state_size=size.state,
        belief_size=size.belief,
        hidden_size=size.hidden,
        reward_layers=len(size.reward),
        reward_hidden=size.reward[0],
        activation=size.activation,
    )
    return random_weights(config, size.action)


@functools.cache
def torch_planner(size: Size, name: str, threads: int) -> TorchCEM:
    """Makes the planner of that model; compiled code belongs to one number of threads."""
    form, precision = TORCH[name]
    if form == "packed" and not torch.backends.mkldnn.is_available():
        raise UnavailableError("this torch has no oneDNN")
    if form == "quantised" and "onednn" not in torch.backends.quantized.supported_engines:
        raise UnavailableError("this torch has no int8 products by oneDNN")
    if precision == "bf16" and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        raise UnavailableError("this oneDNN has no bf16 products here")
    if form in COMPILED and not (shutil.which("c++") or shutil.which("g++")):
        raise UnavailableError("no C++ compiler")
    return TorchCEM(model(size), form, dtype=_DTYPES[precision])


class Problem:
    """A random model and a start, and the variants that plan from there."""

    def __init__(self, size: Size) -> None:
        self.size = size
        self._model = replace(size, **_ANY_PLAN)
        self.weights = model(self._model)
        generator = torch.Generator().manual_seed(1)
        self.latent = LatentState(
            torch.rand(size.batch, size.belief, generator=generator) * 1.6 - 0.8,
            torch.randn(size.batch, size.state, generator=generator),
        )

    def variant(self, name: str) -> Variant:
        """A checked planner.

        Args:
          name: a precision of the planner, "reference", "torchrl" or a key of TORCH.

        Raises:
          UnavailableError: it cannot run here.
          SystemExit: its returns are wrong, so its times would mean nothing.
        """
        size = self.size
        settings = {
            "candidates": size.candidates, "topk": size.topk, "iterations": size.iterations,
        }  # fmt: skip
        if name in (*PRECISIONS, "reference"):
            ops, precision = (reference, "fp32") if name == "reference" else (fused, name)
            mean = torch.zeros(size.horizon, size.batch, size.action)
            stddev = torch.ones_like(mean)

            def rollout(*arguments: Any) -> Tensor:
                return ops.rollout_returns(self.weights, *arguments, precision=precision)

            def plan() -> Any:
                return ops.cem_plan(
                    self.weights, self.latent, mean, stddev, seed=0, precision=precision, **settings
                )
        else:
            planner = self._planner(name)
            rollout = planner.rollout

            def plan() -> Any:
                return planner.plan(self.latent, horizon=size.horizon, **settings)

        return Variant(plan, *self._check(name, rollout))

    def _planner(self, name: str) -> Any:
        if name in TORCH:
            return torch_planner(self._model, name, torch.get_num_threads())
        if name != "torchrl":
            names = [*PRECISIONS, "reference", "torchrl", *TORCH]
            raise ValueError(f"name: expected one of {names}, got {name!r}")
        try:
            from baselines.torchrl_cem import TorchRLCEM
        except ImportError as error:
            raise UnavailableError(f"not installed ({error})") from error
        return TorchRLCEM(self.weights)

    def _check(self, name: str, rollout: Callable[..., Tensor]) -> tuple[float, float, float]:
        """Error and overlap of returns for the same actions and noise, and seconds they took."""
        size = self.size
        form, precision = TORCH.get(name, ("", name if name in PRECISIONS else "fp32"))
        # The compiler compiles for one shape, so check it at the one that is timed: a whole piece.
        one_shape = form in COMPILED
        latent = LatentState(self.latent.belief[:1], self.latent.state[:1])
        latent = latent if one_shape else self.latent
        candidates = min(size.candidates, PIECE if one_shape else max(2, 200 // size.batch))
        shape = (size.horizon, len(latent.belief), candidates)
        generator = torch.Generator().manual_seed(2)
        actions = torch.rand(*shape, size.action, generator=generator) * 2 - 1
        noise = torch.randn(*shape, size.state, generator=generator)
        began = time.perf_counter()
        try:
            got = rollout(latent, actions, noise)
        except ImportError as error:
            raise UnavailableError(str(error)) from error
        except ValueError as error:
            if name not in PRECISIONS or name == "fp32":
                raise
            raise UnavailableError(str(error)) from error  # an instruction set without it
        seconds = time.perf_counter() - began
        expected = exact_returns(self.weights, latent, actions, noise)
        topk = max(1, size.topk * candidates // size.candidates)
        error, overlap = relative_l2(got, expected), elite_overlap(got, expected, topk)
        if not (error <= TOLERANCES[precision] and overlap >= LEAST_OVERLAP - 1 / topk):
            raise SystemExit(
                f"{name}: returns are wrong by {error:.1e}, {overlap:.2f} of the elites are right, "
                f"not timed: {size}"
            )
        return error, overlap, seconds


def prepare(problem: Problem, names: tuple[str, ...]) -> tuple[dict[str, Variant], dict[str, str]]:
    """The variants that can run, and why the others cannot."""
    ready, missing = {}, {}
    for name in names:
        try:
            ready[name] = problem.variant(name)
        except UnavailableError as error:
            missing[name] = str(error)
    return ready, missing


@contextlib.contextmanager
def instruction_set(name: str) -> Iterator[None]:
    """Forces one; the packed weights of a snapshot belong to the one in use at its first plan."""
    before = fused._C.isa_name()
    fused._C.set_isa(name)
    try:
        yield
    finally:
        fused._C.set_isa(before)
