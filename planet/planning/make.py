"""Makes imaginations of settings, and decides what these leave open."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from planet.config import ImaginationConfig
from planet.latent import LatentState
from planet.ops import fused
from planet.ops.bounds import Bound
from planet.planning.imagination import Imagination
from planet.planning.sampling import SamplingPlanner
from planet.protocols import Planner
from planet.weights.rollout_weights import RolloutWeights

PERSISTENT_HAS_RUN = False
"""Whether the persistent kernels have planned on a GPU; until then nobody gets them unasked."""

_FEW = 4  # problems; more of them keep a GPU busy with the portable kernels, too


def make_imagination(
    settings: ImaginationConfig,
    planner: Planner,
    weights: RolloutWeights,
    latent: LatentState,
    *,
    low: Bound = -1.0,
    high: Bound = 1.0,
) -> Imagination:
    """Makes the imagination of the settings; what they leave open, device and sizes decide.

    An open variant is persistent for few problems and a search that is a plain CEM's, on a card
    that serves it, once `PERSISTENT_HAS_RUN`. For the rest see `ImaginationConfig.on`.

    Args:
      settings: None is open.
      planner: what is to search with it.
      weights: see `planet.Imagination`.
      latent: likewise.
      low: likewise.
      high: likewise.

    Raises:
      TypeError, ValueError: as `planet.Imagination`.
    """
    named = settings.on(weights.device.type)
    make = partial(Imagination, weights, latent, low=low, high=high)
    imagination = make(**vars(named))
    usable = settings.variant is None and settings.backend == "fused" and PERSISTENT_HAS_RUN
    few = imagination.batch_size <= _FEW and weights.device.type == "cuda"
    if usable and few and isinstance(planner, SamplingPlanner):
        search = planner.settings
        if search.plain and _is_served(imagination, search.topk):
            return make(**vars(replace(named, variant="persistent")))
    return imagination


def _is_served(imagination: Imagination, topk: int) -> bool:
    """Tells whether card and sizes allow persistent plans; runs none."""
    try:
        fused.persistent_clusters(imagination.weights, precision=imagination.precision, topk=topk)
    except ValueError as refusal:
        if not str(refusal).startswith("variant:"):
            raise
        return False
    return True
