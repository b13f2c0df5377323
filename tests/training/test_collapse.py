"""States of encoders collapse where nothing but prediction counts, and runs warn of it."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np
import pytest
import torch
from learners import learner_of
from small_models import SMALL

from planet.config import TrainConfig
from planet.models import WorldModel
from planet.protocols import Chunk
from planet.training.collapse import collapse_watch
from planet.training.means import Means

T, B = 10, 20


class Walks:
    """Replay of points that actions move within a square."""

    def sample(self, batch_size: int, length: int, generator: np.random.Generator) -> Chunk:
        action, point, seen = generator.uniform(-1, 1, (T, B, 2)), generator.random((B, 2)), []
        for t in range(T):
            point = np.clip(point + 0.1 * action[t], 0, 1)
            seen.append(3 * point)
        vector, moved = (torch.tensor(np.array(x), dtype=torch.float32) for x in (seen, action))
        return Chunk(
            {"vector": vector}, moved, torch.zeros(T, B), torch.zeros(T, B, dtype=torch.bool)
        )


@pytest.mark.parametrize("weight", [0.0, 10.0])
def test_states_that_say_nothing_shrink_to_a_point_and_reconstruction_keeps_them_apart(
    weight: float, caplog: pytest.LogCaptureFixture
) -> None:
    """At 160 updates, seeds 0 to 2: 0.008 to 0.042 without reconstruction, 0.26 to 0.36 with."""
    sizes = {"hidden_size": 16, "vector_hidden": (16,)}
    design = {"posterior": "encoder", "transition": "ssm", "stochastic": False}
    config = replace(SMALL, **sizes, **design)  # type: ignore[arg-type]
    model = WorldModel(config, 2, {"vector": (np.float32, (2,))})
    train = TrainConfig(vector_weight=weight, reward_weight=0.0, learning_rate=3e-3)
    learner, means = learner_of(model, train), Means(collapse_watch())
    with caplog.at_level(logging.WARNING, "planet"):
        for _ in range(8):
            for _ in range(20):
                means.add(learner.update(Walks()))
            means.read()
            scale = means.take()["latent_scale"]
    assert scale > 0.15 if weight else scale < 0.07
    texts = [record.getMessage() for record in caplog.records]
    assert len(texts) == (0 if weight else 1)  # once, however many lines
    assert all(text.startswith("train/latent_scale: expected at least 0.1, got") for text in texts)


def test_a_scale_that_rises_from_fresh_parameters_is_no_collapse(
    caplog: pytest.LogCaptureFixture,
) -> None:
    look = collapse_watch()
    with caplog.at_level(logging.WARNING, "planet"):
        for scale in (0.04, 0.05, 0.2, 0.12):
            look({"latent_scale": scale})
        look({"total": 1.0})
        assert not caplog.records
        look({"latent_scale": 0.09})
        assert len(caplog.records) == 1
