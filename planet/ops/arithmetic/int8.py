"""Computes the model with int8 products: the specification of `precision="int8"`."""

from __future__ import annotations

from typing import cast

import torch.nn.functional as F
from torch import Tensor

from planet.latent import Gaussian, LatentState
from planet.ops.arithmetic.quantisation import (
    QuantisedVector,
    product,
    quantise_activation,
    quantise_signed,
    quantise_weight,
)
from planet.ops.equations import activate, gaussian, gru_update, outcome
from planet.weights.parameters import RecurrentParameters
from planet.weights.rollout_weights import RolloutWeights


class Int8Model:
    """Makes steps whose products are those of `planet.ops.arithmetic.quantisation`.

    They replace those of `planet.ops.equations`:

    - input layer: the state's columns on the state; the action's columns stay float32;
    - GRU: `gru_weight_ih` on x, `gru_weight_hh` on the belief;
    - prior: hidden layer on the new belief (ssm: on x), mean and raw stddev on its output;
    - reward: first layer, its belief columns on the belief and its state columns on the state, each
      with steps of their own; further hidden layers on the one before. The last layer, also if it
      is the only one, stays float32 and reads float32.

    Biases, the GRU's elementwise part (with the float32 belief) and the sample are float32.
    """

    def __init__(self, weights: RolloutWeights) -> None:
        """Quantises `weights`."""
        self._weights = weights
        self._recurrent = weights.transition == "rssm"
        state, belief = weights.state_size, weights.belief_size
        self._input_state = quantise_weight(weights.input_weight[:, :state])
        self._input_action = weights.input_weight[:, state:]
        if self._recurrent:
            gru = cast(RecurrentParameters, weights)
            self._gru_ih = quantise_weight(gru.gru_weight_ih)
            self._gru_hh = quantise_weight(gru.gru_weight_hh)
            self._bias_ih, self._bias_hh = gru.gru_bias_ih, gru.gru_bias_hh
        self._prior_hidden = quantise_weight(weights.prior_hidden_weight)
        self._prior = quantise_weight(weights.prior_weight)
        if len(weights.reward_weights) > 1:
            first = weights.reward_weights[0]
            if self._recurrent:
                self._reward_belief = quantise_weight(first[:, :belief])
            self._reward_state = quantise_weight(first[:, belief:])
        self._reward_hidden = [quantise_weight(w) for w in weights.reward_weights[1:-1]]

    def transition(self, latent: LatentState, action: Tensor) -> tuple[Tensor, Gaussian]:
        """Returns belief [..., D] and prior over the state [..., S] after an action [..., A]."""
        weights = self._weights
        x = F.linear(action, self._input_action, weights.input_bias)
        x = x + product(self._input_state, quantise_signed(latent.state))
        source = self._quantise_hidden(x)
        belief = latent.belief
        if self._recurrent:
            from_x = product(self._gru_ih, source) + self._bias_ih
            from_h = product(self._gru_hh, quantise_signed(belief)) + self._bias_hh
            belief = gru_update(from_x, from_h, belief)
            source = quantise_signed(belief)
        hidden = product(self._prior_hidden, source) + weights.prior_hidden_bias
        output = product(self._prior, self._quantise_hidden(hidden)) + weights.prior_bias
        return belief, gaussian(output, weights.min_stddev, weights.stddev)

    def reward(self, latent: LatentState) -> Tensor:
        """Predicts mean rewards [...] of latents, per model step."""
        return self.outcome(latent)[0]

    def outcome(self, latent: LatentState) -> tuple[Tensor, Tensor | None]:
        """Predicts mean rewards [...] of latents, and logits of going on [...] if there are any."""
        weights, x, biases = self._weights, latent.features, self._weights.reward_biases
        if len(biases) > 1:
            x = product(self._reward_state, quantise_signed(latent.state)) + biases[0]
            if self._recurrent:
                x = x + product(self._reward_belief, quantise_signed(latent.belief))
            for weight, bias in zip(self._reward_hidden, biases[1:-1], strict=True):
                x = product(weight, self._quantise_hidden(x)) + bias
            x = activate(x, weights.activation)
        return outcome(F.linear(x, weights.reward_weights[-1], biases[-1]))

    def _quantise_hidden(self, x: Tensor) -> QuantisedVector:
        """Quantises a hidden layer's output of its sums `x`."""
        activation = self._weights.activation
        return quantise_activation(activate(x, activation), activation)
