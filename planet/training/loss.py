"""Scores sequences by the variational bound and overshooting."""

from __future__ import annotations

from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from planet.config import ModelConfig, TrainConfig
from planet.latent import Gaussian, LatentState, kl_divergence
from planet.noise import STREAM_POSTERIOR
from planet.ops import draws
from planet.protocols import Chunk, Dynamics, Filtered
from planet.training.overshooting import overshooting


class SequenceModel(Dynamics, Protocol):
    """Computes the parts of the bound; `WorldModel` is the specification."""

    @property
    def config(self) -> ModelConfig:
        """Returns the model's settings."""

    def images(self, observation: Tensor, seeds: Tensor) -> Tensor:
        """See `WorldModel.images`."""

    def embed(self, image: Tensor) -> Tensor:
        """See `WorldModel.embed`."""

    def filter_chunk(self, embedding: Tensor, action: Tensor, noise: Tensor) -> Filtered:
        """See `WorldModel.filter_chunk`."""

    def image_error(self, latent: LatentState, image: Tensor) -> Tensor:
        """See `WorldModel.image_error`."""


def sequence_loss(
    model: SequenceModel, chunk: Chunk, config: TrainConfig, seeds: Tensor
) -> dict[str, Tensor]:
    """Computes the negative variational bound on chunks of experience.

    Hafner et al. (ICML 2019), Equation 3 (arXiv v5) with the reward as a further observation, free
    nats per time step, and optionally Equation 7, latent overshooting, and the same of rewards and
    observations.

        t:            0            1            2
        observation  o[0]         o[1]         o[2]      all are reconstructed
        action       a[0]    ->   a[1]    ->   a[2]      a[t] led to o[t]
        reward       r[0]         r[1]         r[2]      on arrival at o[t]

    Args:
      model: the world model.
      chunk: image uint8 [T, B, h, w, 3], action [T, B, A], reward [T, B].
      config: weights of the terms.
      seeds: int64 [B], of the rows' random numbers, on the model's device. At time t of row b the
        dither is that of `planet.ops.pixels.images`, and the posterior's noise the normals of
        `STREAM_POSTERIOR` for candidate t.

    Returns:
      Scalars with gradients by name:
        total: weighted sum, which is minimised.
        image: -log N(image; mean, 1) without its constant, summed over pixels, mean over [T, B].
        reward: -log N(reward; mean, 1) without its constant, mean over [T, B].
        divergence: max(KL(posterior || prior), free nats), mean over [T, B], nats.
        kl: KL(posterior || prior), mean over [T, B], nats; not weighted, for watching.
        global_prior: KL(posterior || N(0, 1)), mean over [T, B], nats.
        overshooting: max(KL, free nats) of latent overshooting, mean over distances, nats.
        overshooting_reward: reward loss on overshot latents, mean over distances.
        overshooting_observation: likewise of images; only where its weight is above 0, since
          decoding costs. See `overshooting`.
    """
    steps, batch = chunk.reward.shape
    image = model.images(chunk.observation["image"], seeds)
    noise = draws.normals(seeds, steps, model.config.state_size, stream=STREAM_POSTERIOR)
    noise = noise.transpose(0, 1).contiguous()  # [T, B, S]
    filtered = model.filter_chunk(model.embed(image), chunk.action, noise)

    image_loss = model.image_error(filtered.latent, image) / (steps * batch)
    reward_loss = 0.5 * F.mse_loss(model.reward(filtered.latent), chunk.reward)
    kl = kl_divergence(filtered.posterior, filtered.prior)
    divergence = kl.clamp(min=config.free_nats).mean()
    standard = Gaussian(torch.zeros_like(noise), torch.ones_like(noise))
    global_prior = kl_divergence(filtered.posterior, standard).mean()

    def penalty(truth: Gaussian, prior: Gaussian) -> Tensor:
        return kl_divergence(truth, prior).clamp(min=config.free_nats)

    def error(latent: LatentState, first: int) -> Tensor:
        return model.image_error(latent, image[first:])

    over = overshooting(
        model, filtered, chunk, config.overshooting_distance, seeds, penalty,
        error if config.overshooting_observation_weight else None,
    )  # fmt: skip
    total = (
        config.image_weight * image_loss
        + config.reward_weight * reward_loss
        + config.divergence_weight * divergence
        + config.global_prior_weight * global_prior
        + config.overshooting_weight * over["overshooting"]
        + config.overshooting_reward_weight * over["overshooting_reward"]
    )
    if "overshooting_observation" in over:
        total = total + config.overshooting_observation_weight * over["overshooting_observation"]
    return {
        "total": total, "image": image_loss, "reward": reward_loss, "divergence": divergence,
        "kl": kl.mean(), "global_prior": global_prior, **over,
    }  # fmt: skip
