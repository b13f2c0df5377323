"""Makes snapshots of models that nobody trained, for profiles and self-tests."""

from __future__ import annotations

import math
from typing import Any

import torch

from planet.config import ModelConfig
from planet.errors.scalars import check_int
from planet.weights.rollout_weights import RolloutWeights
from planet.weights.shapes import GRU_TENSORS, Sizes, arguments, shapes


def random_weights(config: ModelConfig, action_size: int, seed: int = 0) -> RolloutWeights:
    """Makes a snapshot of the given sizes; every parameter is uniform within 1 / sqrt(inputs).

    Args:
      config: its transition and reward sizes are used.
      action_size: A.
      seed: of the parameters.

    Raises:
      TypeError, ValueError: `action_size` is no int or less than 1.
    """
    action_size = check_int("action_size", action_size, 1)
    reward = (config.reward_hidden,) * config.reward_layers
    own = config.belief, config.state_size, action_size, config.hidden_size
    sizes = Sizes(*own, reward, config.continuation)
    return RolloutWeights(
        **random_tensors(sizes, torch.Generator().manual_seed(seed)),
        transition=config.transition,
        activation=config.activation,
        min_stddev=config.min_stddev,
    )


def random_tensors(sizes: Sizes, generator: torch.Generator, scale: float = 1.0) -> dict[str, Any]:
    """Draws tensors for `RolloutWeights`: uniform within scale / sqrt(inputs), PyTorch's at 1.

    Without a belief they are those of transition="ssm", which the caller has to name.
    """
    table, tensors = shapes(sizes), {}
    for name in sorted(table, key=lambda name: name.startswith("reward_biases")):  # these last
        weight = name.replace("biases", "weights").replace("bias", "weight")
        inputs = sizes.belief if name in GRU_TENSORS else table[weight][1]
        uniform = torch.rand(table[name], generator=generator, dtype=torch.float32, device="cpu")
        tensors[name] = (uniform * 2 - 1) * scale / math.sqrt(inputs)
    return arguments(tensors)
