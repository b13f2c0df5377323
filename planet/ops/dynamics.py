"""Functions over any `Dynamics`."""

from __future__ import annotations

from torch import Tensor

from planet.latent import Gaussian, LatentState, stacked
from planet.protocols import Dynamics


def imagine(
    dynamics: Dynamics, latent: LatentState, action: Tensor, noise: Tensor
) -> tuple[LatentState, Gaussian]:
    """Rolls the prior forward without observations.

    Args:
      dynamics: makes the steps.
      latent: start, belief [..., D], state [..., S].
      action: [H, ..., A].
      noise: standard normal [H, ..., S].

    Returns:
      Latents [H, ...] and the priors that they were sampled from.
    """
    latents, priors = [], []
    for a, n in zip(action, noise, strict=True):
        belief, prior = dynamics.transition(latent, a)
        latent = LatentState(belief, prior.sample(n))
        latents.append(latent)
        priors.append(prior)
    return stacked(latents), stacked(priors)
