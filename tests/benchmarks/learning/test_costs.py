"""The costs of overshooting: what the graph holds is counted as it is."""

from __future__ import annotations

import pytest

pytest.importorskip("gymnasium")

from dataclasses import replace

from learning.costs import graph_bytes, overshooting

from planet.config import TrainConfig

SHORT = TrainConfig(chunk_length=6, batch_size=2)


def test_a_graph_holds_no_activations_of_decoded_predictions_unless_they_are_kept() -> None:
    latents, observations = (
        replace(SHORT, **overshooting(5, observed)["train"]) for observed in (False, True)
    )
    none, few, again = map(graph_bytes, (SHORT, latents, observations))
    kept = graph_bytes(observations, kept=True)
    assert none < few < kept
    assert again - few < 0.05 * (kept - few)
