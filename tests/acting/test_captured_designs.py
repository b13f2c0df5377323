"""Captured control steps of models whose filter is not compiled, on arrays of any name."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from agents import small_agent
from small_models import SMALL

from planet.acting.agent import Agent
from planet.models import WorldModel
from planet.models.model_filter import ModelFilter
from planet.noise import row_seeds
from planet.protocols import Observation, Shapes

ROWS, STEPS = 2, 4
SIZES = {"speed": 3, "seeds": 2, "cold": 1, "exploration_stddev": 2}
VECTORS: Shapes = {name: (np.float32, (size,)) for name, size in SIZES.items()}
BOTH: Shapes = {"angle": (np.float32, (2,)), "image": (np.uint8, (8, 8, 6))}


def small_model(shapes: Shapes, **design: Any) -> WorldModel:
    torch.manual_seed(0)
    return WorldModel(replace(SMALL, vector_hidden=(6,), **design), 2, shapes)


def observation(shapes: Shapes, step: int) -> Observation:
    random = np.random.default_rng(step)
    return {name: random.integers(0, 200, (ROWS, *shape)).astype(dtype) for name, (dtype, shape) in
            shapes.items()}  # fmt: skip


def actions(agent: Agent, shapes: Shapes) -> list[Any]:
    """Actions of an agent whose model learns after the second step."""
    agent.reset(row_seeds(0, ROWS))
    done = []
    for step in range(STEPS):
        if step == 2:
            with torch.no_grad():
                for parameter in agent.world_model.parameters():
                    parameter *= 1.5
            agent.update_weights()
        done.append(agent.act(observation(shapes, step), explore=True).tolist())
    return done


@pytest.mark.parametrize("execute", [1, 2])
@pytest.mark.parametrize(
    ("shapes", "design"),
    [
        (VECTORS, {}),
        (VECTORS, {"transition": "ssm", "stochastic": False}),
        (BOTH, {"transition": "ssm", "posterior": "encoder"}),
    ],
    ids=["RSSM of vectors", "SSM of means", "encoder of both"],
)
def test_captured_and_eager_agents_act_alike_before_and_after_learning(
    shapes: Shapes, design: dict[str, Any], execute: int
) -> None:
    eager, captured = (
        small_agent(capture, small_model(shapes, **design), execute=execute)
        for capture in (False, True)
    )
    assert isinstance(captured.weights, ModelFilter)
    assert actions(captured, shapes) == actions(eager, shapes)
