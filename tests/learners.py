"""Learners for tests, and the replay that they learn from."""

from __future__ import annotations

import numpy as np

from planet.config import TrainConfig
from planet.models import WorldModel
from planet.protocols import Chunk, Policy, Replay
from planet.training.learner import GradientLearner
from planet.training.loss import sequence_loss


class Batches:
    """Replay that returns the given chunks in turn, whatever is asked for."""

    def __init__(self, *chunks: Chunk) -> None:
        self._chunks = list(chunks)

    def sample(self, batch_size: int, length: int, generator: np.random.Generator) -> Chunk:
        return self._chunks.pop(0)


def learner_of(model: WorldModel, config: TrainConfig) -> GradientLearner:
    """Trains a world model; nothing acts."""

    def policy(episodes: int) -> Policy:
        raise AssertionError(f"nothing acts here, after {episodes} episodes neither")

    return GradientLearner(
        model,
        lambda chunk, seeds: sequence_loss(model, chunk, config, seeds),
        policy,
        config,
    )


def replay(*chunks: Chunk) -> Replay:
    return Batches(*chunks)
