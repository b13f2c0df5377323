"""Bounds how far float32 returns may be from exact ones, whatever the inputs.

A float32 sum of n terms is off by at most n roundings of the terms' magnitudes, in any order, with
or without fused multiply-adds (Higham, Accuracy and Stability of Numerical Algorithms, 3.1). What
each such error does to the return is its derivative. So the bound is the sum over all the numbers
of a rollout, magnitude of the derivative times greatest local error: it grows with the rewards'
terms where the rewards cancel, which a bound relative to the returns does not.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from planet.latent import LatentState
from planet.weights.rollout_weights import RolloutWeights

UNIT = 2.0**-24  # of one rounding to nearest
FUNCTION = 8  # roundings that an exponential function's float32 form may be off by
HIGHER_ORDERS = 2.0  # errors of errors, for gains that float32 serves


class Rollout:
    """Rollouts in float64, rows of candidates; notes where float32 rounds, and by how much."""

    def __init__(self, weights: RolloutWeights) -> None:
        self.w = weights
        self.errors: list[Tensor] = []  # zeros that are added to what is rounded
        self.bounds: list[Tensor] = []

    def rounded(self, exact: Tensor, bound: Tensor) -> Tensor:
        """Notes that float32 adds up to `bound` to a number."""
        self.errors.append(torch.zeros_like(exact, requires_grad=True))
        self.bounds.append(bound.detach())
        return exact + self.errors[-1]

    def linear(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        w, b = weight.double(), bias.double()
        terms = x.abs() @ w.abs().T + b.abs()
        return self.rounded(x @ w.T + b, (w.shape[1] + 1) * UNIT * terms)

    def activate(self, x: Tensor) -> Tensor:
        if self.w.activation == "elu":
            return self.rounded(F.elu(x), FUNCTION * UNIT * (x < 0))
        near = (x <= 0) & (x > -1e-4)  # an error may lift it above zero
        return F.relu(x) + torch.where(near, x - x.detach(), 0.0)

    def smooth(self, y: Tensor, scale: Tensor | None = None) -> Tensor:
        """Rounds the value of a sigmoid, tanh or softplus."""
        return self.rounded(y, FUNCTION * UNIT * (y.abs() if scale is None else scale))

    def step(self, h: Tensor, s: Tensor, action: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Computes the new belief, and mean and stddev of the new state."""
        w, d = self.w, self.w.belief_size
        x = self.activate(self.linear(torch.cat([s, action], 1), w.input_weight, w.input_bias))
        if d:
            from_x = self.linear(x, w.gru_weight_ih, w.gru_bias_ih).split(d, dim=1)
            from_h = self.linear(h, w.gru_weight_hh, w.gru_bias_hh).split(d, dim=1)
            reset, update = (
                self.smooth(torch.sigmoid(self.sum(from_x[i], from_h[i]))) for i in range(2)
            )
            new = self.smooth(torch.tanh(self.sum(from_x[2], reset * from_h[2])))
            x = h = self.sum(new, update * (h - new), update * h)
        hidden = self.activate(self.linear(x, w.prior_hidden_weight, w.prior_hidden_bias))
        mean, raw = self.linear(hidden, w.prior_weight, w.prior_bias).split(w.state_size, dim=1)
        stddev = F.softplus(raw, threshold=100)
        stddev = self.smooth(stddev, 1 + stddev)
        clamps = w.stddev == "clamp"
        stddev = stddev.clamp(min=w.min_stddev) if clamps else stddev + w.min_stddev
        return h, mean, self.smooth(stddev, 1 + stddev)

    def sum(self, a: Tensor, b: Tensor, more: Tensor | float = 0.0) -> Tensor:
        """Adds products; `more` are terms that a form of the sum may go through."""
        return self.rounded(a + b, 3 * UNIT * (a.abs() + b.abs() + abs(more)))

    def reward(self, h: Tensor, s: Tensor) -> Tensor:
        x = torch.cat([h, s], 1)
        *hidden, last = zip(self.w.reward_weights, self.w.reward_biases, strict=True)
        for layer in hidden:
            x = self.activate(self.linear(x, *layer))
        return self.linear(x, *last)[:, 0]

    def returns(
        self, h: Tensor, s: Tensor, actions: Tensor, noise: Tensor | None,
        noise_error: float, discount: float,
    ) -> Tensor:  # fmt: skip
        """Computes [rows] from [rows, D], [rows, S], [H, rows, A] and [H, rows, S]."""
        total = torch.zeros(len(h), dtype=torch.float64)
        for t, action in enumerate(actions):
            h, s, stddev = self.step(h, s, action)
            if noise is not None:
                s = self.sum(s, stddev * noise[t])
                s = self.rounded(s, stddev * noise_error * (1 + noise[t].abs()))
            term = discount**t * self.reward(h, s)
            total = total + self.rounded(term, (len(actions) + t + 2) * UNIT * term.abs())
        return total


def bounded_returns(
    weights: RolloutWeights,
    latent: LatentState,
    actions: Tensor,
    noise: Tensor | None,
    *,
    noise_error: float = 0.0,
    discount: float = 1.0,
) -> tuple[Tensor, Tensor]:
    """Computes exact returns, and how far float32 may be from each; float64 [B, J].

    Args:
      weights: of either transition.
      latent: start; belief [B, D], state [B, S], or one per candidate.
      actions: [H, B, J, A].
      noise: standard normals [H, B, J, S], or None to follow the prior mean.
      noise_error: of the normals, absolute and relative.
      discount: factor per step.
    """
    _, batch, candidates, _ = actions.shape

    def rows(x: Tensor) -> Tensor:
        wide = x[:, None].expand(-1, candidates, -1) if x.dim() == 2 else x
        return wide.double().reshape(*wide.shape[:-3], batch * candidates, x.shape[-1])

    rollout = Rollout(weights)
    returns = rollout.returns(
        rows(latent.belief), rows(latent.state), rows(actions),
        None if noise is None else rows(noise), noise_error, discount,
    )  # fmt: skip
    slopes = torch.autograd.grad(  # of the sum: rows do not meet
        returns.sum(), rollout.errors, allow_unused=True, materialize_grads=True
    )
    parts = [
        (slope.abs() * bound).reshape(len(returns), -1).sum(dim=1)
        for slope, bound in zip(slopes, rollout.bounds, strict=True)
    ]
    bound = HIGHER_ORDERS * torch.stack(parts).sum(dim=0)
    return tuple(x.detach().reshape(batch, candidates) for x in (returns, bound))
