"""Holds what an observation says of a state against what the model foresaw, for every design."""

from __future__ import annotations

import torch
from torch import Tensor

from planet.config import ModelConfig
from planet.latent import Gaussian, kl_divergence


def divergence(config: ModelConfig, posterior: Gaussian, prior: Gaussian) -> Tensor:
    """Computes what ties the prior to the posterior, summed over the state's dimensions.

        posterior   stochastic
        filter      yes           KL(posterior || prior), nats
        encoder     yes           -log prior(state) without its constant, nats
        either      no            |mean of the posterior - mean of the prior|^2 / 2: the KL of
                                  Gaussians with unit stddev

    Args:
      config: of the model.
      posterior: over [..., S]; its mean is the state of an encoder.
      prior: over [..., S].

    Returns:
      [...].
    """
    if config.sampled:
        return kl_divergence(posterior, prior)
    error = posterior.mean - prior.mean
    if not config.stochastic:
        return 0.5 * error.square().sum(dim=-1)
    return (0.5 * (error / prior.stddev).square() + prior.stddev.log()).sum(dim=-1)


def global_divergence(config: ModelConfig, posterior: Gaussian) -> Tensor:
    """Computes KL(posterior || N(0, 1)); states that are means count as of unit stddev: [...]."""
    zeros, ones = torch.zeros_like(posterior.mean), torch.ones_like(posterior.mean)
    given = posterior if config.sampled else Gaussian(posterior.mean, ones)
    return kl_divergence(given, Gaussian(zeros, ones))
