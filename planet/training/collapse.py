"""Warns when the states of an encoder shrink to a point."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

SMALLEST_SCALE = 0.1
"""Stddev of states over a batch below which they hardly tell observations apart."""

_LOGGER = logging.getLogger("planet")


def collapse_watch() -> Callable[[Mapping[str, float]], None]:
    """Makes what is shown every line of metrics and warns once, of states that collapse.

    An encoder whose states are all alike has them foreseen without error, and they say nothing; see
    `latent_scale` of `planet.training.loss.sequence_loss`. Fresh parameters give a small scale,
    too, but then it rises: what counts is a small one that falls from one line to the next.
    """
    told, before = False, 0.0

    def look(means: Mapping[str, float]) -> None:
        nonlocal told, before
        scale = means.get("latent_scale", SMALLEST_SCALE)
        falls, before = scale < before, scale
        if falls and scale < SMALLEST_SCALE and not told:
            told = True
            _LOGGER.warning(
                "train/latent_scale: expected at least %g, got %.2g: the encoder's states shrink "
                "to a point, which is foreseen well and says nothing; larger train.image_weight, "
                "vector_weight or reward_weight, or a smaller divergence_weight, keep them apart",
                SMALLEST_SCALE, scale,
            )  # fmt: skip

    return look
