"""The reward model: mean of p(r_t | h_t, s_t) with unit stddev, and whether an episode goes on."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from planet.config import ModelConfig
from planet.ops.equations import outcome, reward_head


class RewardModel(nn.Module):
    """A multilayer perceptron on belief and state.

    Args:
      config: number and width of hidden layers, activation.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        width = config.features
        rows = 2 if config.continuation else 1
        sizes = [width, *[config.reward_hidden] * config.reward_layers, rows]
        self.layers = nn.ModuleList(
            nn.Linear(a, b, dtype=torch.float32) for a, b in zip(sizes, sizes[1:], strict=False)
        )
        self.activation: str = config.activation

    @property
    def weights(self) -> list[Tensor]:
        """One matrix per layer: the first [N, D+S], the last [1, N], or [2, N] with the logit."""
        return [layer.get_parameter("weight") for layer in self.layers]

    @property
    def biases(self) -> list[Tensor]:
        """One vector per layer."""
        return [layer.get_parameter("bias") for layer in self.layers]

    def forward(self, features: Tensor) -> Tensor:
        """Predicts rewards [...] of features [..., D+S], per model step."""
        return self.outcome(features)[0]

    def outcome(self, features: Tensor) -> tuple[Tensor, Tensor | None]:
        """Predicts rewards [...], and logits of going on [...] where the settings ask for them."""
        return outcome(reward_head(features, self.weights, self.biases, self.activation))
