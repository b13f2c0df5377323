"""Trains the prior over several steps, on any dynamics: latent overshooting."""

from __future__ import annotations

from torch import Tensor

from planet.latent import Gaussian, LatentState, kl_divergence
from planet.noise import STREAM_STATE
from planet.ops import draws
from planet.protocols import Chunk, Dynamics, Filtered


def overshooting(
    dynamics: Dynamics,
    filtered: Filtered,
    chunk: Chunk,
    distance: int,
    free_nats: float,
    seeds: Tensor,
) -> tuple[Tensor, Tensor]:
    """Holds priors that saw nothing for d steps against the posteriors there.

    Hafner et al. (ICML 2019), Equation 7 (arXiv v5). Every posterior sample at t is rolled forward
    by the prior alone; after d = 2 ... D steps the prior is held against the posterior at t + d,
    whose gradient is stopped. Distance 1 is the bound's own divergence. All start times advance
    together.

    Args:
      dynamics: makes the steps.
      filtered: the chunk's latents and posteriors.
      chunk: its actions [T, B, A] and rewards [T, B].
      distance: D, at most T - 1 of which are made; less than 2: none.
      free_nats: of KL per time step without penalty.
      seeds: int64 [B]; the noise of distance d from start i is the normals of `STREAM_STATE` for
        candidate i at time d.

    Returns:
      Means over d of max(KL, free nats), and of the reward loss at the same states.
    """
    zero = chunk.reward.new_zeros(())
    distance = min(distance, len(chunk.reward) - 1)
    if distance < 2:
        return zero, zero
    latent, kl, reward_loss = filtered.latent, zero, zero
    target = Gaussian(filtered.posterior.mean.detach(), filtered.posterior.stddev.detach())
    for d in range(1, distance + 1):
        # The latent at index i started at i and has made d - 1 steps; the last start falls away.
        latent = LatentState(latent.belief[:-1], latent.state[:-1])
        belief, prior = dynamics.transition(latent, chunk.action[d:])
        starts, _, states = prior.mean.shape
        noise = draws.normals(seeds, starts, states, stream=STREAM_STATE, time=d)
        latent = LatentState(belief, prior.sample(noise.transpose(0, 1)))
        if d > 1:
            truth = Gaussian(target.mean[d:], target.stddev[d:])
            kl = kl + kl_divergence(truth, prior).clamp(min=free_nats).mean()
            error = dynamics.reward(latent) - chunk.reward[d:]
            reward_loss = reward_loss + 0.5 * error.square().mean()
    return kl / (distance - 1), reward_loss / (distance - 1)
