"""Learners for tests, and the replay that they learn from."""

from __future__ import annotations

import numpy as np

from planet.config import TrainConfig
from planet.models import WorldModel
from planet.protocols import Chunk, Policy, Replay
from planet.training.learner import GradientLearner
from planet.training.loss import SequenceModel, sequence_loss


class Batches:
    """Replay that returns the given chunks in turn, whatever is asked for."""

    def __init__(self, *chunks: Chunk) -> None:
        self._chunks = list(chunks)

    def sample(self, batch_size: int, length: int, generator: np.random.Generator) -> Chunk:
        return self._chunks.pop(0)


def learner_of(
    model: WorldModel, config: TrainConfig, trained: SequenceModel | None = None
) -> GradientLearner:
    """Trains a world model, by the loss of `trained` where it is given; nothing acts."""

    def policy(episodes: int) -> Policy:
        raise AssertionError(f"nothing acts here, after {episodes} episodes neither")

    return GradientLearner(
        model,
        lambda chunk, seeds: sequence_loss(trained or model, chunk, config, seeds),
        policy,
        config,
    )


def replay(*chunks: Chunk) -> Replay:
    return Batches(*chunks)
