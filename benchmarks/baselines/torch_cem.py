"""The cross-entropy method in PyTorch, as fast as it gets: the baseline of all speed claims.

No Philox and no checks: `torch.randn` draws, `inference_mode`, weights laid out once. `form`:
  "eager"      plain operators (`torch_step.InPlaceStep`)
  "packed"     the same with weights in oneDNN's layout, whose products add bias and ReLU themselves
               (the private operators that the compiler emits)
  "quantised"  the same with `quantize_dynamic`'s int8 products; all else is float32
  "jit"        the TorchScript trace of the eager step, float32
  "cell"       plain operators, as few kernels as possible (`torch_step.CellStep`): for GPUs
  "autocast"   plain operators on float32 weights, under `torch.autocast` to a half precision
  "compile"    `torch.compile` of a step, on the CPU with inductor's freezing
  "rollout"    the same of a whole rollout
Which are the fastest of a precision depends on the processor: `BASELINES` lists all, by precision.
On a GPU a plan of "cell" or "compile" can be captured in a CUDA graph: it allocates, but never
reads a result. That every form returns what `planet.ops.reference` does for the same actions and
noise is tested.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from baselines.torch_step import (
    CellStep,
    InPlaceStep,
    Packed,
    Plain,
    PureRollout,
    PureStep,
    Quantised,
    summed,
)
from torch import Tensor

from planet.latent import LatentState
from planet.weights.rollout_weights import RolloutWeights

BASELINES = {
    "fp32": ("eager", "packed", "jit", "compile", "rollout"),
    "int8": ("quantised",),
    "bf16": ("eager", "packed", "cell", "autocast", "compile", "rollout"),
}
"""The forms that are timed on CPUs, by the precision of their products."""

COMPILED = ("compile", "rollout")
FORMS = tuple(dict.fromkeys(form for forms in BASELINES.values() for form in forms))
PIECE = 1000  # rows

Score = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
"""Belief [N, D], state [N, S], actions [H, N, A], noise [H, N, S] to returns [N, 1]."""


@dataclass(frozen=True)
class Outcome:
    """Result of `TorchCEM.plan`: mean, stddev [H, B, A] and best return [B]."""

    mean: Tensor
    stddev: Tensor
    best_return: Tensor


class TorchCEM:
    """A planner for one snapshot of weights.

    Args:
      weights: the snapshot.
      form: see above; the compiled ones are so for one shape, on the first call with it and for
        the number of threads at that time.
      rows: problems and candidates are scored in pieces of so many rows, which stay in the caches;
        on a GPU all at once are faster.
      dtype: of the model's arithmetic, which "quantised" and "jit" do in float32; rewards are
        summed, and distributions refitted, in float32.
    """

    def __init__(
        self,
        weights: RolloutWeights,
        form: str = "eager",
        *,
        rows: int = PIECE,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        if form not in FORMS:
            raise ValueError(f"form: expected one of {list(FORMS)}, got {form!r}")
        float32 = dtype == torch.float32
        if form in ("quantised", "jit", "autocast") and float32 == (form == "autocast"):
            expected = "a half precision" if float32 else "float32"
            raise ValueError(f"dtype: expected {expected} for form {form!r}, got {dtype}")
        self.weights, self.rows = weights, rows
        self.dtype = torch.float32 if form == "autocast" else dtype  # of what a step is given
        if form in COMPILED:
            self._score = _compiled(weights, form, dtype)
        elif form == "cell":
            self._score = partial(summed, CellStep(weights, dtype))
        elif form == "autocast":
            self._score = _autocast(weights, dtype)
        else:
            self._score = _in_place(weights, form, rows, dtype)

    @torch.inference_mode()
    def rollout(self, latent: LatentState, actions: Tensor, noise: Tensor) -> Tensor:
        """Returns [B, J] of actions [H, B, J, A] and standard normals [H, B, J, S]."""
        horizon, batch, candidates, size = actions.shape
        count, weights = batch * candidates, self.weights
        belief = latent.belief[:, None].expand(-1, candidates, -1).reshape(count, -1)
        state = latent.state[:, None].expand(-1, candidates, -1).reshape(count, -1)
        belief, state = belief.to(self.dtype), state.to(self.dtype)
        actions = actions.reshape(horizon, count, size).to(self.dtype)
        noise = noise.reshape(horizon, count, weights.state_size).to(self.dtype)
        pieces = [
            self._score(belief[i:j], state[i:j], actions[:, i:j], noise[:, i:j])
            for i, j in ((i, min(count, i + self.rows)) for i in range(0, count, self.rows))
        ]
        return torch.cat(pieces).view(batch, candidates)

    @torch.inference_mode()
    def plan(
        self,
        latent: LatentState,
        *,
        horizon: int,
        candidates: int,
        topk: int,
        iterations: int,
        low: float = -1.0,
        high: float = 1.0,
        epsilon: float = 1e-6,
    ) -> Outcome:
        """Plans from the middle of the box, half its width as stddev, with fresh random numbers."""
        batch, size = latent.belief.shape[0], self.weights.action_size
        where: Any = {"device": latent.belief.device}
        mean = torch.full((horizon, batch, size), (low + high) / 2, **where)
        stddev = torch.full((size,), (high - low) / 2, **where)
        stddev = stddev.expand(horizon, batch, size)
        best = torch.empty(batch, **where)
        shape = (horizon, batch, candidates)
        for _ in range(iterations):
            actions = torch.randn(*shape, size, **where)
            actions.mul_(stddev[:, :, None]).add_(mean[:, :, None]).clamp_(low, high)
            noise = torch.randn(*shape, self.weights.state_size, dtype=self.dtype, **where)
            returns = self.rollout(latent, actions, noise)
            values, elites = returns.topk(topk, dim=1, sorted=False)
            index = elites[None, :, :, None].expand(horizon, -1, -1, size)
            variance, mean = torch.var_mean(actions.gather(2, index), dim=2, correction=0)
            stddev = variance.add_(epsilon).sqrt_()
            best = values.amax(dim=1)
        return Outcome(mean, stddev, best)


def _in_place(weights: RolloutWeights, form: str, rows: int, dtype: torch.dtype) -> Score:
    layers = {"packed": partial(Packed, rows=rows), "quantised": Quantised}
    step: Callable[[Tensor, Tensor, Tensor], Tensor]
    step = InPlaceStep(weights, layers.get(form, Plain), dtype).eval()
    d, s = weights.belief_size, weights.state_size
    if form == "jit":
        examples = torch.zeros(2, d), torch.zeros(2, s + weights.action_size), torch.zeros(2, s)
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # TorchScript is deprecated; the comparison is not
            step = torch.jit.freeze(torch.jit.trace(step, examples, check_trace=False))

    def score(belief: Tensor, state: Tensor, actions: Tensor, noise: Tensor) -> Tensor:
        belief, inputs = belief.clone(), torch.cat([state, actions[0]], 1)
        total = step(belief, inputs, noise[0]).float()
        for t in range(1, actions.shape[0]):
            inputs[:, s:] = actions[t]
            total += step(belief, inputs, noise[t])
        return total

    return score


def _autocast(weights: RolloutWeights, dtype: torch.dtype) -> Score:
    step = PureStep(weights).eval()

    def score(*arguments: Tensor) -> Tensor:
        with torch.autocast(weights.device.type, dtype):
            return summed(step, *arguments)

    return score


def _compiled(weights: RolloutWeights, form: str, dtype: torch.dtype) -> Score:
    if weights.device.type == "cpu":
        # Makes the weights constants, so that they are packed at compile time; for the whole
        # process, as the tracer reads it too.
        torch._inductor.config.freezing = True
    torch._dynamo.config.recompile_limit = 64  # one program per size, dtype and thread count
    if form == "rollout":
        return torch.compile(PureRollout(weights, dtype).eval(), dynamic=False, fullgraph=True)
    step = PureStep(weights, dtype).eval()
    return partial(summed, torch.compile(step, dynamic=False, fullgraph=True))
