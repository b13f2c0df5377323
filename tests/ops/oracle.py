"""Rollouts and plans in float64 NumPy, without `planet.ops`: exact, or rounded to half precision.

A second writing of `planet.ops.arithmetic.half` in plain loops, for tests that measure how far
float32 and
half precision are from exact returns, and whether half precision is rounded where it is said to be.
Numbers that stay float32 in the specification are float64 here.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from golden.model import softplus
from torch import Tensor

from planet.latent import LatentState
from planet.noise import STREAM_ACTIONS, STREAM_STATE, normals
from planet.weights.rollout_weights import RolloutWeights
from planet.weights.shapes import layouts

Array = np.ndarray
LARGEST = {"fp16": 65504.0, "bf16": float.fromhex("0x1.fep127")}


def rounded(x: Array, precision: str | None) -> Array:
    """Rounds `x` to the nearest numbers of the format, ties to even; None: as it is."""
    if precision is None:
        return x
    if precision == "fp16":
        return x.astype(np.float16).astype(np.float64)
    # Eight significant bits: in units of 2^(exponent - 8), rint is to the nearest, ties to even.
    unit = np.ldexp(1.0, np.frexp(x)[1] - 8)
    return np.rint(x / unit) * unit


def sigmoid(x: Array) -> Array:
    return 0.5 + 0.5 * np.tanh(0.5 * x)


def exponent(*matrices: Array) -> int:
    """Finds e with 256 <= 2^e max |W| < 512, by looking."""
    largest = max(np.abs(matrix).max() for matrix in matrices)
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
            name: getattr(weights, name).double().numpy() for name in layouts(weights.transition, 0)
        }
        self.reward_layers = [
            (weight.double().numpy(), bias.double().numpy())
            for weight, bias in zip(weights.reward_weights, weights.reward_biases, strict=True)
        ]
        self.outside: Any = False

    def operand(self, x: Array) -> Array:
        """Activations as a product reads them; notes rows that the format does not hold."""
        if self.precision:
            with np.errstate(invalid="ignore"):
                inside = (np.abs(x) <= LARGEST[self.precision]).all(axis=1)
            self.outside = self.outside | ~inside
            x = np.where(inside[:, None], x, 0.0)
        return rounded(x, self.precision)

    def linear(self, x: Array, weight: Array, bias: Array) -> Array:
        return self.sums(x, weight, exponent(weight)) + bias

    def sums(self, x: Array, weight: Array, e: int) -> Array:
        if self.precision is None:
            e = 0
        return self.operand(x) @ rounded(weight * 2.0**e, self.precision).T * 2.0**-e

    def activate(self, x: Array) -> Array:
        if self.elu:
            return np.where(x > 0, x, np.expm1(np.minimum(x, 0)))
        return np.maximum(x, 0)  # NaN stays NaN

    def step(self, belief: Array, state: Array, action: Array) -> tuple[Array, Array, Array]:
        """Computes the new belief, and mean and stddev of the new state."""
        w, d = self.w, self.sizes[0]
        x = self.linear(np.hstack([state, action]), w["input_weight"], w["input_bias"])
        x = self.activate(x)
        if d:
            e = exponent(w["gru_weight_ih"], w["gru_weight_hh"])
            from_x = self.sums(x, w["gru_weight_ih"], e) + w["gru_bias_ih"]
            from_h = self.sums(belief, w["gru_weight_hh"], e) + w["gru_bias_hh"]
            r, z = (sigmoid((from_x + from_h)[:, i * d : (i + 1) * d]) for i in range(2))
            n = np.tanh(from_x[:, 2 * d :] + r * from_h[:, 2 * d :])
            x = belief = n + z * (belief - n)
        p = self.linear(x, w["prior_hidden_weight"], w["prior_hidden_bias"])
        out = self.linear(self.activate(p), w["prior_weight"], w["prior_bias"])
        size = self.sizes[1]
        stddev = softplus(out[:, size:])
        stddev = np.maximum(stddev, self.least) if self.clamp else stddev + self.least
        return belief, out[:, :size], stddev

    def reward(self, belief: Array, state: Array) -> Array:
        x = np.hstack([belief, state])
        for weight, bias in self.reward_layers[:-1]:
            x = self.activate(self.linear(x, weight, bias))
        weight, bias = self.reward_layers[-1]  # never rounded
        return x @ weight[0] + bias[0]

    def returns(
        self, belief: Array, state: Array, actions: Array, noise: Array | None, discount: float
    ) -> Array:
        """Computes [J] from belief [J, D], state [J, S], actions [H, J, A], noise [H, J, S]."""
        self.outside = np.zeros(len(belief), dtype=bool)
        total = np.zeros(len(belief))
        for t in range(len(actions)):
            belief, mean, stddev = self.step(belief, state, actions[t])
            state = mean if noise is None else mean + stddev * noise[t]
            total += discount**t * self.reward(belief, state)
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

    With a precision, candidates that its format does not hold are exact.
    """
    with np.errstate(invalid="ignore", over="ignore"):
        return _exact_returns(weights, latent, actions, noise, discount, precision)


def _exact_returns(
    weights: RolloutWeights,
    latent: LatentState,
    actions: Tensor,
    noise: Tensor | None,
    discount: float,
    precision: str | None,
) -> Tensor:
    _, batch, candidates, _ = actions.shape
    model, exact = Oracle(weights, precision), Oracle(weights)
    rows = []
    for b in range(batch):
        start = [
            np.broadcast_to(x[b].double().numpy(), (candidates, x.shape[-1]))
            for x in (latent.belief, latent.state)
        ]
        draw = None if noise is None else noise[:, b].double().numpy()
        rollout = *start, actions[:, b].double().numpy(), draw, discount
        row = model.returns(*rollout)
        if np.any(model.outside):
            row = np.where(model.outside, exact.returns(*rollout), row)
        rows.append(row)
    return torch.from_numpy(np.stack(rows))


def exact_plan(
    weights: RolloutWeights, latent: LatentState, seeds: Tensor,
    horizon: int, candidates: int, topk: int, iterations: int,
) -> Tensor:  # fmt: skip
    """Finds action means [H, B, A] of CEM in float64, from mean 0 and stddev 1."""
    batch, size = len(seeds), weights.action_size
    mean, stddev = np.zeros((horizon, batch, size)), np.ones((horizon, batch, size))
    for i in range(iterations):
        draws = drawn(seeds, horizon, candidates, size, STREAM_ACTIONS, i)
        actions = np.clip(mean[:, :, None] + stddev[:, :, None] * draws.numpy(), -1, 1)
        noise = drawn(seeds, horizon, candidates, weights.state_size, STREAM_STATE, i)
        returns = exact_returns(weights, latent, torch.from_numpy(actions), noise)
        elites = np.argsort(-returns.numpy(), axis=1, kind="stable")[:, :topk]
        chosen = np.take_along_axis(actions, elites[None, :, :, None], axis=2)
        mean, stddev = chosen.mean(axis=2), np.sqrt(chosen.var(axis=2) + 1e-6)
    return torch.from_numpy(mean)


def drawn(seeds: Tensor, horizon: int, candidates: int, size: int, stream: int, i: int) -> Tensor:
    """Draws the contract's normals [H, B, candidates, size] of an iteration, float64."""
    return torch.stack(
        [normals(seeds, candidates, size, stream=stream, time=t, iteration=i)
         for t in range(horizon)]
    ).double()  # fmt: skip
