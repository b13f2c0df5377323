"""Takes arguments of the planner's snapshots out of a latent model."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from planet.models.encoder import Encoder
from planet.models.latent_model import LatentModel
from planet.models.reward import RewardModel
from planet.weights.modules import encoder_tensors, gru_tensors, linear_tensors, reward_tensors

_NO_STDDEV = -1e4
"""Raw stddev whose softplus is 0: with a smallest stddev of 0, a sample is the mean."""


def rollout_arguments(model: LatentModel, reward: RewardModel) -> dict[str, Any]:
    """Returns arguments of `RolloutWeights`; states that are means have a stddev of 0 there."""
    tensors: dict[str, Any] = gru_tensors(model.gru) | reward_tensors(reward.layers)
    for name, module in (("input", model.input), ("prior_hidden", model.prior_hidden)):
        tensors[f"{name}_weight"], tensors[f"{name}_bias"] = linear_tensors(name, module)
    tensors["prior_weight"], tensors["prior_bias"] = _head(model.prior_head, model.stochastic)
    return tensors | {
        "transition": "rssm" if model.gru else "ssm",
        "activation": model.activation,
        "stddev": model.stddev,
        "min_stddev": model.min_stddev if model.stochastic else 0.0,
    }


def filter_arguments(model: LatentModel, encoder: Encoder) -> dict[str, Any]:
    """Returns arguments of `FilterWeights` but for the rollout's and the image's."""
    weight, bias = _head(model.posterior_head, model.stochastic)
    return {
        **encoder_tensors(encoder.layers, model.activation),
        "posterior_hidden_weight": model.posterior_hidden.weight,
        "posterior_hidden_bias": model.posterior_hidden.bias,
        "posterior_weight": weight,
        "posterior_bias": bias,
    }


def _head(head: nn.Linear, stochastic: bool) -> tuple[Tensor, Tensor]:
    """Returns weight [2S, M] and bias [2S] of a Gaussian head, or of one of means alone."""
    weight, bias = head.weight, head.bias
    if stochastic:
        return weight, bias
    raw = torch.full_like(bias, _NO_STDDEV)
    return torch.cat([weight, torch.zeros_like(weight)]), torch.cat([bias, raw])
