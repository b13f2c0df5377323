"""The loss: the variational bound of the sequence, and latent overshooting."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

import torch
import torch.nn.functional as F
from torch import Tensor

from planet.config import TrainConfig
from planet.latent import Gaussian, LatentState
from planet.models import Filtered, WorldModel
from planet.ops import reference
from planet.replay import Chunk
from planet.short_repr import short_repr


@dataclass(frozen=True)
class LossTerms:
    """Scalars; `total` is what is minimised.

    Attributes:
      total: weighted sum.
      image: -log N(image; mean, 1) without its constant, summed over pixels, mean over [T, B].
      reward: -log N(reward; mean, 1) without its constant, mean over [T, B].
      divergence: max(KL(posterior || prior), free nats), mean over [T, B], nats.
      kl: KL(posterior || prior), mean over [T, B], nats; not weighted, for watching.
      global_prior: KL(posterior || N(0, 1)), mean over [T, B], nats.
      overshooting: KL of latent overshooting, mean over distances, nats.
      overshooting_reward: reward loss on overshot latents, mean over distances.
    """

    total: Tensor
    image: Tensor
    reward: Tensor
    divergence: Tensor
    kl: Tensor
    global_prior: Tensor
    overshooting: Tensor
    overshooting_reward: Tensor

    __repr__ = short_repr

    def items(self) -> list[tuple[str, Tensor]]:
        """Names and scalars."""
        return [(f.name, getattr(self, f.name)) for f in fields(self)]


def kl_divergence(left: Gaussian, right: Gaussian) -> Tensor:
    """KL(left || right) of diagonal Gaussians, summed over the last dimension, in nats.

    sum_i ln(s2/s1) + (s1^2 + (m1 - m2)^2) / (2 s2^2) - 1/2.

    Args:
      left: over [..., S].
      right: over [..., S].

    Returns:
      [...].
    """
    ratio = (left.stddev / right.stddev).square()
    error = ((left.mean - right.mean) / right.stddev).square()
    return 0.5 * (ratio + error - 1.0 - torch.log(ratio)).sum(dim=-1)


def sequence_loss(
    model: WorldModel, chunk: Chunk, config: TrainConfig, generator: torch.Generator
) -> LossTerms:
    """The negative variational bound on chunks of experience.

    Hafner et al. (ICML 2019), Equation 3 (arXiv v5) with the reward as a further observation, free
    nats per time step, and optionally Equation 7, latent overshooting.

        t:            0            1            2
        observation  o[0]         o[1]         o[2]      all are reconstructed
        action       a[0]    ->   a[1]    ->   a[2]      a[t] led to o[t]
        reward       r[0]         r[1]         r[2]      on arrival at o[t]

    Args:
      model: the world model.
      chunk: observation uint8 [T, B, h, w, 3], action [T, B, A], reward [T, B].
      config: weights of the terms.
      generator: source of dither and posterior noise, on the model's device.

    Returns:
      LossTerms of scalars with gradients.
    """
    steps, batch = chunk.reward.shape
    device = model.device
    size = model.image_size

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, device=device, dtype=torch.float32)

    dither = torch.rand(
        steps, batch, size, size, 3, generator=generator, device=device, dtype=torch.float32
    )
    image = model.images(chunk.observation, dither)
    noise = draw(steps, batch, model.config.state_size)
    filtered = model.rssm.filter_chunk(model.embed(image), chunk.action, noise)

    decoded = model.decode(filtered.latent)
    image_loss = 0.5 * F.mse_loss(decoded, image, reduction="sum") / (steps * batch)
    reward_loss = 0.5 * F.mse_loss(model.predict_reward(filtered.latent), chunk.reward)
    kl = kl_divergence(filtered.posterior, filtered.prior)
    divergence = kl.clamp(min=config.free_nats).mean()
    standard = Gaussian(torch.zeros_like(noise), torch.ones_like(noise))
    global_prior = kl_divergence(filtered.posterior, standard).mean()
    overshoot_kl, overshoot_reward = _overshooting(model, chunk, filtered, config, draw)
    total = (
        config.image_weight * image_loss
        + config.reward_weight * reward_loss
        + config.divergence_weight * divergence
        + config.global_prior_weight * global_prior
        + config.overshooting_weight * overshoot_kl
        + config.overshooting_reward_weight * overshoot_reward
    )
    return LossTerms(
        total, image_loss, reward_loss, divergence, kl.mean(), global_prior,
        overshoot_kl, overshoot_reward,
    )  # fmt: skip


def _overshooting(
    model: WorldModel,
    chunk: Chunk,
    filtered: Filtered,
    config: TrainConfig,
    draw: Callable[..., Tensor],
) -> tuple[Tensor, Tensor]:
    """Latent overshooting: Hafner et al. (ICML 2019), Equation 7 (arXiv v5).

    Every posterior sample at t is rolled forward by the prior alone; after d = 2 ... D steps the
    prior is held against the posterior at t + d, whose gradient is stopped. Distance 1 is the
    bound's own divergence. All start times advance together.

    Returns:
      Mean over d of max(KL, free nats), and of the reward loss at the same states.
    """
    zero = chunk.reward.new_zeros(())
    steps = chunk.reward.shape[0]
    distance = min(config.overshooting_distance, steps - 1)
    if distance < 2:
        return zero, zero
    latent, kl, reward_loss = filtered.latent, zero, zero
    target = Gaussian(filtered.posterior.mean.detach(), filtered.posterior.stddev.detach())
    for d in range(1, distance + 1):
        # The latent at index i started at i and has made d - 1 steps; the last start falls away.
        latent = LatentState(latent.belief[:-1], latent.state[:-1])
        belief = reference.next_belief(model.rssm, latent, chunk.action[d:])
        prior = reference.prior(model.rssm, belief)
        latent = LatentState(belief, prior.sample(draw(*prior.mean.shape)))
        if d > 1:
            truth = Gaussian(target.mean[d:], target.stddev[d:])
            kl = kl + kl_divergence(truth, prior).clamp(min=config.free_nats).mean()
            error = model.predict_reward(latent) - chunk.reward[d:]
            reward_loss = reward_loss + 0.5 * error.square().mean()
    return kl / (distance - 1), reward_loss / (distance - 1)
