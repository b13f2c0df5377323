"""Networks for observations that are vectors: readings of sensors, states of a simulator."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from planet.config import ModelConfig
from planet.models.activation import activation_module


def join_vectors(observation: Mapping[str, Tensor]) -> Tensor:
    """Joins all arrays but the image, in the order of their names, as float32 [..., V].

    Numbers are compressed, sign(x) ln(1 + |x|), so that large ones neither drown the small ones nor
    the loss (`symlog` of Hafner et al., "Mastering Diverse Domains through World Models", 2023).
    """
    names = sorted(set(observation) - {"image"})
    return symlog(torch.cat([observation[name] for name in names], dim=-1).float())


def symlog(x: Tensor) -> Tensor:
    """Computes sign(x) ln(1 + |x|)."""
    return torch.sign(x) * torch.log1p(x.abs())


class VectorEncoder(nn.Module):
    """A multilayer perceptron, activated at its end, as the convolutions are.

    Args:
      config: units of its layers, activation.
      size: V.
    """

    def __init__(self, config: ModelConfig, size: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for hidden in config.vector_hidden:
            layers.append(nn.Linear(size, hidden, dtype=torch.float32))
            layers.append(activation_module(config.activation))
            size = hidden
        self.layers = nn.Sequential(*layers)
        self.embedding_size = size

    def forward(self, vector: Tensor) -> Tensor:
        """Embeds vectors [N, V] of `join_vectors` as [N, E]."""
        embedding: Tensor = self.layers(vector)
        return embedding


class VectorDecoder(nn.Module):
    """A multilayer perceptron, linear at its end: mean of p(o_t | h_t, s_t) with unit stddev.

    Args:
      config: units of its hidden layers, activation.
      size: V.
    """

    def __init__(self, config: ModelConfig, size: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        width = config.features
        for hidden in reversed(config.vector_hidden):
            layers.append(nn.Linear(width, hidden, dtype=torch.float32))
            layers.append(activation_module(config.activation))
            width = hidden
        layers.append(nn.Linear(width, size, dtype=torch.float32))
        self.layers = nn.Sequential(*layers)

    def forward(self, features: Tensor) -> Tensor:
        """Decodes [N, D+S] as vectors [N, V] of `join_vectors`."""
        vector: Tensor = self.layers(features)
        return vector
