"""Tests random snapshots: any sizes, decided by the seed alone."""

from __future__ import annotations

import pytest
import torch

from planet.config import ModelConfig
from planet.weights.random import random_weights

MODEL = ModelConfig(state_size=3, belief_size=5, hidden_size=7, reward_layers=1, reward_hidden=4)


def test_random_weights_have_the_sizes_and_depend_on_the_seed_alone() -> None:
    weights = random_weights(MODEL, 2)
    sizes = (weights.belief_size, weights.state_size, weights.hidden_size, weights.action_size)
    assert sizes == (5, 3, 7, 2)
    assert [w.shape[0] for w in weights.reward_weights] == [4, 1]
    torch.manual_seed(99)
    assert weights.input_weight.equal(random_weights(MODEL, 2).input_weight)
    assert not weights.input_weight.equal(random_weights(MODEL, 2, seed=1).input_weight)


def test_random_weights_keep_the_conventions_of_the_model() -> None:
    weights = random_weights(ModelConfig(activation="elu", min_stddev=0.2, reward_layers=0), 1)
    assert (weights.activation, weights.min_stddev) == ("elu", 0.2)
    assert len(weights.reward_weights) == 1


def test_random_weights_need_an_action() -> None:
    with pytest.raises(ValueError, match="action_size: expected a value >= 1, got 0"):
        random_weights(MODEL, 0)
