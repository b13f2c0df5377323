"""Scores sequences by the variational bound and overshooting."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from planet.config import ModelConfig, TrainConfig
from planet.latent import Gaussian, LatentState
from planet.noise import STREAM_POSTERIOR
from planet.ops import draws
from planet.protocols import Chunk, Filtered, ScoredDynamics
from planet.training.divergence import divergence, global_divergence
from planet.training.overshooting import overshooting


class SequenceModel(ScoredDynamics, Protocol):
    """Computes the parts of the bound; `WorldModel` is the specification."""

    @property
    def config(self) -> ModelConfig:
        """Returns the model's settings."""

    def inputs(self, observation: Mapping[str, Tensor], seeds: Tensor) -> dict[str, Tensor]:
        """See `WorldModel.inputs`."""

    def embed(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """See `WorldModel.embed`."""

    def filter_chunk(self, embedding: Tensor, action: Tensor, noise: Tensor) -> Filtered:
        """See `WorldModel.filter_chunk`."""

    def errors(self, latent: LatentState, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """See `WorldModel.errors`."""


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
      chunk: arrays of observations [T, B, ...], action [T, B, A], reward and terminated [T, B].
      config: weights of the terms.
      seeds: int64 [B], of the rows' random numbers, on the model's device. At time t of row b the
        dither is that of `planet.ops.pixels.images`, and the posterior's noise the normals of
        `STREAM_POSTERIOR` for candidate t.

    Returns:
      Scalars with gradients by name:
        total: weighted sum, which is minimised.
        image: -log N(image; mean, 1) without its constant, summed over pixels, mean over [T, B];
          where an image is observed.
        vector: the same of the vectors, as `planet.models.vectors` compresses them.
        reward: -log N(reward; mean, 1) without its constant, mean over [T, B].
        continuation: cross entropy of whether the episode goes on, mean over [T, B], nats; where
          the model predicts it.
        divergence: `planet.training.divergence`, mean over [T, B]; of sampled posteriors no less
          than the free nats, as no other distance has a scale of its own; of an encoder without
          the first time step, which nothing came before.
        kl: the same without free nats; not weighted, for watching.
        global_prior: KL(posterior || N(0, 1)), mean over [T, B], nats.
        latent_scale: stddev of an encoder's states over [T, B], mean over dimensions; near 0 they
          have collapsed to a point, which is foreseen well and says nothing.
        overshooting: the divergence of latent overshooting, mean over distances.
        overshooting_reward: reward loss on overshot latents, mean over distances.
        overshooting_observation: likewise of images and vectors together; only where its weight is
          above 0, since decoding costs. See `overshooting`.
    """
    steps, batch = chunk.reward.shape
    inputs = model.inputs(chunk.observation, seeds)
    noise = draws.normals(seeds, steps, model.config.state_size, stream=STREAM_POSTERIOR)
    noise = noise.transpose(0, 1).contiguous()  # [T, B, S]
    filtered = model.filter_chunk(model.embed(inputs), chunk.action, noise)

    errors = model.errors(filtered.latent, inputs)
    terms = {name: error / (steps * batch) for name, error in errors.items()}
    reward, going_on = model.outcome(filtered.latent)
    terms["reward"] = 0.5 * F.mse_loss(reward, chunk.reward)
    if going_on is not None:
        truth = (~chunk.terminated).to(going_on.dtype)
        terms["continuation"] = F.binary_cross_entropy_with_logits(going_on, truth)
    terms |= _divergences(model.config, filtered, config.free_nats)
    terms |= _overshot(model, filtered, chunk, config, seeds, inputs)
    weighted = [
        getattr(config, f"{name}_weight") * term
        for name, term in terms.items()
        if name not in ("kl", "latent_scale")
    ]
    return {"total": sum(weighted[1:], weighted[0]), **terms}


def _divergences(config: ModelConfig, filtered: Filtered, free_nats: float) -> dict[str, Tensor]:
    kl = divergence(config, filtered.posterior, filtered.prior)
    encodes = config.posterior == "encoder"
    kl = kl[1:] if encodes else kl
    charged = kl.clamp(min=free_nats) if config.sampled else kl
    terms = {"divergence": charged.mean(), "kl": kl.mean()}
    if encodes:
        terms["latent_scale"] = filtered.latent.state.detach().std(dim=(0, 1)).mean()
    terms["global_prior"] = global_divergence(config, filtered.posterior).mean()
    return terms


def _overshot(
    model: SequenceModel,
    filtered: Filtered,
    chunk: Chunk,
    config: TrainConfig,
    seeds: Tensor,
    inputs: Mapping[str, Tensor],
) -> dict[str, Tensor]:
    def penalty(truth: Gaussian, prior: Gaussian) -> Tensor:
        kl = divergence(model.config, truth, prior)
        return kl.clamp(min=config.free_nats) if model.config.sampled else kl

    def error(latent: LatentState, first: int) -> Tensor:
        found = model.errors(latent, {name: x[first:] for name, x in inputs.items()})
        return torch.stack([*found.values()]).sum()

    return overshooting(
        model, filtered, chunk, config.overshooting_distance, seeds, penalty,
        error if config.overshooting_observation_weight else None,
    )  # fmt: skip
