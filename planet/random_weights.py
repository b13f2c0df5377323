"""Snapshots of models that nobody trained, for profiles and self-tests."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from planet.config import ModelConfig
from planet.weights import RolloutWeights


def random_weights(config: ModelConfig, action_size: int, seed: int = 0) -> RolloutWeights:
    """A snapshot of the given sizes; every parameter is uniform within 1 / sqrt(inputs).

    Args:
      config: its transition and reward sizes are used.
      action_size: A.
      seed: of the parameters.

    Raises:
      ValueError: `action_size` is less than 1.
    """
    if action_size < 1:
        raise ValueError(f"action_size: expected at least 1, got {action_size}")
    generator = torch.Generator().manual_seed(seed)
    where: Any = {"dtype": torch.float32, "device": "cpu"}  # whatever the defaults are

    def uniform(inputs: int, *shape: int) -> Tensor:
        return (torch.rand(shape, generator=generator, **where) * 2 - 1) / math.sqrt(inputs)

    belief, state, hidden = config.belief_size, config.state_size, config.hidden_size
    widths = [belief + state, *[config.reward_hidden] * config.reward_layers, 1]
    layers = list(zip(widths, widths[1:], strict=False))
    return RolloutWeights(
        input_weight=uniform(state + action_size, hidden, state + action_size),
        input_bias=uniform(state + action_size, hidden),
        gru_weight_ih=uniform(belief, 3 * belief, hidden),
        gru_weight_hh=uniform(belief, 3 * belief, belief),
        gru_bias_ih=uniform(belief, 3 * belief),
        gru_bias_hh=uniform(belief, 3 * belief),
        prior_hidden_weight=uniform(belief, hidden, belief),
        prior_hidden_bias=uniform(belief, hidden),
        prior_weight=uniform(hidden, 2 * state, hidden),
        prior_bias=uniform(hidden, 2 * state),
        reward_weights=tuple(uniform(inputs, outputs, inputs) for inputs, outputs in layers),
        reward_biases=tuple(uniform(inputs, outputs) for inputs, outputs in layers),
        activation=config.activation,
        min_stddev=config.min_stddev,
    )
