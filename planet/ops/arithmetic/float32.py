"""Computes the model in float32, as it was trained: the specification of `precision="fp32"`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from torch import Tensor

from planet.latent import Gaussian, LatentState
from planet.ops.equations import input_layer, next_belief, outcome, prior, reward_head
from planet.weights.parameters import RecurrentParameters
from planet.weights.rollout_weights import RolloutWeights


@dataclass(frozen=True)
class Float32Model:
    """Makes the steps of a snapshot's model; see `planet.protocols.ScoredDynamics`."""

    weights: RolloutWeights

    def transition(self, latent: LatentState, action: Tensor) -> tuple[Tensor, Gaussian]:
        """Returns belief [..., D] and prior over the state [..., S] after an action [..., A]."""
        if self.weights.transition == "ssm":
            x = input_layer(self.weights, latent.state, action)
            return latent.belief, prior(self.weights, x)
        belief = next_belief(cast(RecurrentParameters, self.weights), latent, action)
        return belief, prior(self.weights, belief)

    def reward(self, latent: LatentState) -> Tensor:
        """Predicts mean rewards [...] of latents, per model step."""
        return self.outcome(latent)[0]

    def outcome(self, latent: LatentState) -> tuple[Tensor, Tensor | None]:
        """Predicts mean rewards [...] of latents, and logits of going on [...] if there are any."""
        layers = self.weights.reward_weights, self.weights.reward_biases
        return outcome(reward_head(latent.features, *layers, self.weights.activation))
