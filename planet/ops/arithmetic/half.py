"""Computes the model with half-precision products: the specification of "fp16" and "bf16".

Only products of weights and activations are affected; everything between them is float32.

    W x + b  =  2^-e * sum_k round(2^e W[r, k]) round(x[k])  +  b

- `round` is to the format's nearest number, ties to even. Products of two such numbers are exact in
  float32; how their float32 sum is ordered is free.
- e is a layer's own: 256 <= 2^e max |W| < 512, at most 100, 0 for weights that are all zero.
  The largest weights are then far from the end of fp16's range, and the small ones far from its
  subnormal numbers. The GRU's two matrices are one layer: their sums for r and z are added.
- Activations x are rounded as they are: start belief and state, actions, and the outputs of the
  input layer, of the GRU, of the prior's hidden layer, of the prior (its samples), and of the
  reward head's hidden layers but the last.
- The GRU's belief is kept in float32 besides: h' = n + z (h - n) never reads a rounded h.
- The last reward layer, also if it is the only one, is float32 and reads float32.
- The gates' sigmoid and tanh and softplus may be approximate: tanh by 2^-11 of itself, sigmoid by
  2^-12, softplus by 2^-21. That is what operands keep, and what GPUs compute in one instruction.
  The reference's are float32's.
- A candidate of which some activation that a product reads is not finite, or beyond the format's
  largest number, returns NaN in "bf16", whose range is float32's. In "fp16" it is computed in
  float32 throughout, so every model is served, whatever its range.

A kernel for bf16 may leave out the scale 2^e, and take operands and sums below 2^-126 for zero. It
may return NaN also where the return is not finite, and where an activation, or the terms of W x + b
by their magnitudes, exceed 1e32, or where a bound of them does that is made of the magnitudes of
weights, and of starts, states and actions so far: far from where float32's sums end, whatever the
scale. It may go on where an activation beyond the largest number is rounded to that one, by less
than half a unit.
"""

from __future__ import annotations

import math
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor

from planet.latent import Gaussian, LatentState
from planet.ops.equations import activate, gaussian, gru_blend, outcome
from planet.weights.parameters import RecurrentParameters
from planet.weights.rollout_weights import RolloutWeights

FORMATS = {"fp16": torch.float16, "bf16": torch.bfloat16}
"""Of the operands, by precision."""

_LARGEST_EXPONENT = 100
_BITS = 9  # 2^8 <= the scaled layer's largest weight < 2^9


class HalfModel:
    """Makes steps whose products have operands in half precision.

    Attributes:
      outside: which candidates [B, J] had an activation that the format does not hold, so far;
        their rewards are NaN.
    """

    def __init__(self, weights: RolloutWeights, precision: str) -> None:
        """Scales and rounds `weights` to the format of "fp16" or "bf16"."""
        self._weights = weights
        self._format = FORMATS[precision]
        self._recurrent = weights.transition == "rssm"
        self._input = self._layer(weights.input_weight)
        if self._recurrent:
            gru = cast(RecurrentParameters, weights)
            self._gru = self._layer(gru.gru_weight_ih, gru.gru_weight_hh)
            self._bias_ih, self._bias_hh = gru.gru_bias_ih, gru.gru_bias_hh
        self._prior_hidden = self._layer(weights.prior_hidden_weight)
        self._prior = self._layer(weights.prior_weight)
        self._reward = [self._layer(weight) for weight in weights.reward_weights[:-1]]
        self.outside = torch.zeros((), dtype=torch.bool, device=weights.device)

    def transition(self, latent: LatentState, action: Tensor) -> tuple[Tensor, Gaussian]:
        """Returns belief [..., D] and prior over the state [..., S] after an action [..., A]."""
        weights, belief = self._weights, latent.belief
        x = self._linear(self._input, torch.cat([latent.state, action], dim=-1), weights.input_bias)
        source = activate(x, weights.activation)
        if self._recurrent:
            source = belief = self._next_belief(source, belief)
        hidden = self._linear(self._prior_hidden, source, weights.prior_hidden_bias)
        hidden = activate(hidden, weights.activation)
        output = self._linear(self._prior, hidden, weights.prior_bias)
        return belief, gaussian(output, weights.min_stddev, weights.stddev)

    def reward(self, latent: LatentState) -> Tensor:
        """Predicts mean rewards [...] of latents, per model step."""
        return self.outcome(latent)[0]

    def outcome(self, latent: LatentState) -> tuple[Tensor, Tensor | None]:
        """Predicts mean rewards [...] of latents, and logits of going on [...] if there are any."""
        weights, x = self._weights, latent.features
        for layer, bias in zip(self._reward, weights.reward_biases[:-1], strict=True):
            x = activate(self._linear(layer, x, bias), weights.activation)
        head = F.linear(x, weights.reward_weights[-1], weights.reward_biases[-1])
        return outcome(head.masked_fill(self.outside[..., None], math.nan))

    def _next_belief(self, x: Tensor, belief: Tensor) -> Tensor:
        weight_ih, weight_hh, scale = self._gru
        from_x = F.linear(self._round(x), weight_ih)
        from_h = F.linear(self._round(belief), weight_hh)
        gates = 2 * belief.shape[-1]  # rows of r and z
        bias = (self._bias_ih + self._bias_hh)[:gates]
        reset, update = (scale * (from_x + from_h)[..., :gates] + bias).chunk(2, dim=-1)
        new_x = scale * from_x[..., gates:] + self._bias_ih[gates:]
        new_h = scale * from_h[..., gates:] + self._bias_hh[gates:]
        return gru_blend(reset, update, new_x, new_h, belief)

    def _linear(self, layer: tuple[Tensor, ...], x: Tensor, bias: Tensor) -> Tensor:
        weight, scale = layer
        return scale * F.linear(self._round(x), weight) + bias

    def _layer(self, *matrices: Tensor) -> tuple[Tensor, ...]:
        """Returns the matrices times 2^e, rounded; and 2^-e, float32 []."""
        largest = max(float(matrix.abs().max()) for matrix in matrices)
        exponent = _BITS - math.frexp(largest)[1] if largest else 0
        exponent = min(exponent, _LARGEST_EXPONENT)
        scaled = [(matrix * 2.0**exponent).to(self._format).float() for matrix in matrices]
        return *scaled, matrices[0].new_full((), 2.0**-exponent)

    def _round(self, x: Tensor) -> Tensor:
        outside = ~(x.abs() <= torch.finfo(self._format).max).all(dim=-1)
        self.outside = self.outside | outside
        return x.to(self._format).float()
