"""Rollouts and plans in float64, without `planet.ops`: exact, or rounded to half precision.

A second writing of `planet.ops.arithmetic.half` in plain loops, for tests that measure how far
float32 and half precision are from exact returns, and whether half precision is rounded where it is
said to be. Numbers that stay float32 in the specification are float64 here. It computes on a GPU
where there is one, which the tests of a GPU have to wait for; what it returns is on the CPU.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from planet.latent import LatentState
from planet.noise import STREAM_ACTIONS, STREAM_STATE, normals
from planet.weights.rollout_weights import RolloutWeights
from planet.weights.shapes import layouts

LARGEST = {"fp16": 65504.0, "bf16": float.fromhex("0x1.fep127")}
# Significant bits, and the exponent below which numbers are subnormal: x = m 2^e, 1/2 <= m < 1.
FORMATS = {"fp16": (11, -13), "bf16": (8, -125)}


def home() -> torch.device:
    """Returns the device that computes."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def power_of_two(exponents: Tensor) -> Tensor:
    """2^e, exactly: a float64 that has no other bits."""
    return ((exponents.long().clamp(-1000, 1000) + 1023) << 52).view(torch.float64)


def rounded(x: Tensor, precision: str | None) -> Tensor:
    """Rounds `x` to the nearest numbers of the format, ties to even; None: as it is."""
    if precision is None:
        return x
    bits, least = FORMATS[precision]
    unit = power_of_two(torch.frexp(x).exponent.clamp(min=least) - bits)
    return torch.round(x / unit) * unit  # to the nearest, ties to even


def sigmoid(x: Tensor) -> Tensor:
    return 0.5 + 0.5 * torch.tanh(0.5 * x)


def softplus(x: Tensor) -> Tensor:
    return torch.logaddexp(x, torch.zeros_like(x))


def exponent(*matrices: Tensor) -> int:
    """Finds e with 256 <= 2^e max |W| < 512, by looking."""
    largest = max(matrix.abs().max().item() for matrix in matrices)
    if largest == 0:
        return 0
    found = 8 - math.floor(math.log2(largest))
    while largest * 2.0**found < 256:
        found += 1
    while largest * 2.0**found >= 512:
        found -= 1
    return min(found, 100)


class Oracle:
    """Computes one snapshot's model, for rows of candidates of one problem."""

    def __init__(self, weights: RolloutWeights, precision: str | None = None) -> None:
        self.precision = precision
        self.sizes = weights.belief_size, weights.state_size, weights.action_size
        self.elu, self.least = weights.activation == "elu", weights.min_stddev
        self.clamp = weights.stddev == "clamp"
        self.w = {
            name: getattr(weights, name).to(home()).double()
            for name in layouts(weights.transition, 0)
        }
        self.reward_layers = [
            (weight.to(home()).double(), bias.to(home()).double())
            for weight, bias in zip(weights.reward_weights, weights.reward_biases, strict=True)
        ]
        self.outside: Any = False

    def operand(self, x: Tensor) -> Tensor:
        """Activations as a product reads them; notes rows that the format does not hold."""
        if self.precision:
            inside = (x.abs() <= LARGEST[self.precision]).all(dim=1)
            self.outside = self.outside | ~inside
            x = torch.where(inside[:, None], x, 0.0)
        return rounded(x, self.precision)

    def linear(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return self.sums(x, weight, exponent(weight)) + bias

    def sums(self, x: Tensor, weight: Tensor, e: int) -> Tensor:
        if self.precision is None:
            e = 0
        return self.operand(x) @ rounded(weight * 2.0**e, self.precision).T * 2.0**-e

    def activate(self, x: Tensor) -> Tensor:
        if self.elu:
            return torch.where(x > 0, x, torch.expm1(x.clamp(max=0)))
        return x.clamp(min=0)  # NaN stays NaN

    def step(self, belief: Tensor, state: Tensor, action: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Computes the new belief, and mean and stddev of the new state."""
        w, d = self.w, self.sizes[0]
        x = self.linear(torch.hstack([state, action]), w["input_weight"], w["input_bias"])
        x = self.activate(x)
        if d:
            e = exponent(w["gru_weight_ih"], w["gru_weight_hh"])
            from_x = self.sums(x, w["gru_weight_ih"], e) + w["gru_bias_ih"]
            from_h = self.sums(belief, w["gru_weight_hh"], e) + w["gru_bias_hh"]
            r, z = (sigmoid((from_x + from_h)[:, i * d : (i + 1) * d]) for i in range(2))
            n = torch.tanh(from_x[:, 2 * d :] + r * from_h[:, 2 * d :])
            x = belief = n + z * (belief - n)
        p = self.linear(x, w["prior_hidden_weight"], w["prior_hidden_bias"])
        out = self.linear(self.activate(p), w["prior_weight"], w["prior_bias"])
        size = self.sizes[1]
        stddev = softplus(out[:, size:])
        stddev = stddev.clamp(min=self.least) if self.clamp else stddev + self.least
        return belief, out[:, :size], stddev

    def head(self, belief: Tensor, state: Tensor) -> Tensor:
        """Computes [J, 1], rewards, or [J, 2], with logits of going on."""
        x = torch.hstack([belief, state])
        for weight, bias in self.reward_layers[:-1]:
            x = self.activate(self.linear(x, weight, bias))
        weight, bias = self.reward_layers[-1]  # never rounded
        return x @ weight.T + bias

    def returns(
        self, belief: Tensor, state: Tensor, actions: Tensor, noise: Tensor | None, discount: float
    ) -> Tensor:
        """Computes [J] from belief [J, D], state [J, S], actions [H, J, A], noise [H, J, S]."""
        self.outside = torch.zeros(len(belief), dtype=torch.bool, device=belief.device)
        total = torch.zeros(len(belief), dtype=torch.float64, device=belief.device)
        going = torch.ones_like(total)
        for t in range(len(actions)):
            belief, mean, stddev = self.step(belief, state, actions[t])
            state = mean if noise is None else mean + stddev * noise[t]
            head = self.head(belief, state)
            total += discount**t * going * head[:, 0]
            going *= sigmoid(head[:, -1]) if head.shape[1] == 2 else 1.0
        return total


def exact_returns(
    weights: RolloutWeights,
    latent: LatentState,
    actions: Tensor,
    noise: Tensor | None,
    *,
    discount: float = 1.0,
    precision: str | None = None,
) -> Tensor:
    """Returns float64 [B, J]; arguments as those of `rollout_returns`.

    Candidates that the format of a precision does not hold are exact in fp16, and NaN in bf16.
    """
    _, batch, candidates, _ = actions.shape
    model = Oracle(weights, precision)
    rows = []
    for b in range(batch):
        start = [
            x[b].to(home()).double().expand(candidates, x.shape[-1])
            for x in (latent.belief, latent.state)
        ]
        draw = None if noise is None else noise[:, b].to(home()).double()
        rollout = *start, actions[:, b].to(home()).double(), draw, discount
        row = model.returns(*rollout)
        if precision == "fp16" and model.outside.any():
            row = torch.where(model.outside, Oracle(weights).returns(*rollout), row)
        elif precision == "bf16":
            row = row.masked_fill(model.outside, math.nan)
        rows.append(row)
    return torch.stack(rows).cpu()


def exact_plan(
    weights: RolloutWeights, latent: LatentState, seeds: Tensor,
    horizon: int, candidates: int, topk: int, iterations: int,
) -> Tensor:  # fmt: skip
    """Finds action means [H, B, A] of CEM in float64, from mean 0 and stddev 1."""
    batch, size = len(seeds), weights.action_size
    mean = torch.zeros(horizon, batch, size, dtype=torch.float64)
    stddev = torch.ones_like(mean)
    for i in range(iterations):
        draws = drawn(seeds, horizon, candidates, size, STREAM_ACTIONS, i)
        actions = (mean[:, :, None] + stddev[:, :, None] * draws).clamp(-1, 1)
        noise = drawn(seeds, horizon, candidates, weights.state_size, STREAM_STATE, i)
        returns = exact_returns(weights, latent, actions, noise)
        elites = returns.sort(dim=1, descending=True, stable=True).indices[:, :topk]
        chosen = torch.take_along_dim(actions, elites[None, :, :, None], dim=2)
        mean = chosen.mean(dim=2)
        stddev = (chosen.var(dim=2, correction=0) + 1e-6).sqrt()
    return mean


def drawn(seeds: Tensor, horizon: int, candidates: int, size: int, stream: int, i: int) -> Tensor:
    """Draws the contract's normals [H, B, candidates, size] of an iteration, float64."""
    return torch.stack(
        [normals(seeds, candidates, size, stream=stream, time=t, iteration=i)
         for t in range(horizon)]
    ).double()  # fmt: skip
