"""Trains the prior over several steps, on any dynamics: latent and observation overshooting."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import Tensor

from planet.latent import Gaussian, LatentState
from planet.noise import STREAM_STATE
from planet.ops import draws
from planet.protocols import Chunk, Dynamics, Filtered
from planet.training.recomputed import recomputed

Divergence = Callable[[Gaussian, Gaussian], Tensor]
"""Holds priors over [..., S] against posteriors, which come first: the loss in nats, [...]."""
Error = Callable[[LatentState, int], Tensor]
"""Half the squared distance of latents [N, B], decoded, from observations i to i + N - 1: []."""


def overshooting(
    dynamics: Dynamics,
    filtered: Filtered,
    chunk: Chunk,
    distance: int,
    seeds: Tensor,
    divergence: Divergence,
    error: Error | None = None,
) -> dict[str, Tensor]:
    """Holds priors that saw nothing for d steps against posteriors, rewards and observations.

    Hafner et al. (ICML 2019), Equation 7 (arXiv v5). Every posterior sample at t is rolled forward
    by the prior alone; after d steps it is at t + d, if that is in the chunk. All start times
    advance together.

        start          d = 1         d = 2         d = 3
        q[t]    -->   p[t+1]  -->   p[t+2]  -->   p[t+3]
                                    q[t+2]        q[t+3]      sg: their gradient is stopped
                                    r[t+2]        r[t+3]
                      o[t+1]        o[t+2]        o[t+3]      decoded

    Latents and rewards count from d = 2 on, as distance 1 is the bound's own divergence. The bound
    decodes posteriors alone, so observations count from d = 1 on.

    A decoder's activations are made anew in the backward pass, for one distance at a time: it takes
    the memory of one distance, at most T * B frames, and a second forward pass. With the paper's
    sizes and 50 distances the graph holds 1.9 GB, not 15.8.

    Args:
      dynamics: makes the steps.
      filtered: the chunk's latents and posteriors.
      chunk: its actions [T, B, A] and rewards [T, B].
      distance: D, at most T - 1 of which are made; 0: none.
      seeds: int64 [B]; the noise of distance d from start i is the normals of `STREAM_STATE` for
        candidate i at time d.
      divergence: of posteriors, which get no gradient, and priors, as the bound has it.
      error: of latents and the index of the first observation that they are held against; it must
        give the same bits when called again. None: observations take no part.

    Returns:
      Scalars by name, means over d of means over the pairs (t, t + d) of all rows:
        overshooting: the divergence.
        overshooting_reward: -log N(reward; mean, 1) without its constant.
        overshooting_observation: -log N(observation; mean, 1) likewise; only with an `error`.
    """
    zero = chunk.reward.new_zeros(())
    kl, reward_loss, observation_loss = zero, zero, zero
    distance = min(distance, len(chunk.reward) - 1)
    latent, posterior = filtered.latent, filtered.posterior
    # Distance 1 alone serves no term but that of observations.
    for d in range(1, distance + 1 if distance > 1 or error else 1):
        latent, prior = _step(dynamics, latent, chunk.action[d:], seeds, d)
        if d > 1:
            truth = Gaussian(posterior.mean[d:].detach(), posterior.stddev[d:].detach())
            kl = kl + divergence(truth, prior).mean()
            difference = dynamics.reward(latent) - chunk.reward[d:]
            reward_loss = reward_loss + 0.5 * difference.square().mean()
        if error:
            missed = recomputed(partial(error, latent, d))
            observation_loss = observation_loss + missed / chunk.reward[d:].numel()
    later = max(distance - 1, 1)
    terms = {"overshooting": kl / later, "overshooting_reward": reward_loss / later}
    if error:
        terms["overshooting_observation"] = observation_loss / max(distance, 1)
    return terms


def _step(
    dynamics: Dynamics, latent: LatentState, action: Tensor, seeds: Tensor, distance: int
) -> tuple[LatentState, Gaussian]:
    """Samples latents one step later, and the priors they are from; the last start falls away.

    The latent at index i started at i and has made `distance` - 1 steps.
    """
    before = LatentState(latent.belief[:-1], latent.state[:-1])
    belief, prior = dynamics.transition(before, action)
    starts, _, states = prior.mean.shape
    noise = draws.normals(seeds, starts, states, stream=STREAM_STATE, time=distance)
    return LatentState(belief, prior.sample(noise.transpose(0, 1))), prior
