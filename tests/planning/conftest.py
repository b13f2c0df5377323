"""Imaginations of a small model."""

from __future__ import annotations

from typing import Any

import pytest
from agents import MakeImagination
from random_weights import TINY, make_problem

from planet.planning import Imagination


@pytest.fixture
def imagine(ops: Any) -> MakeImagination:
    """A small model's imagination of B problems, by each backend."""
    name = ops.__name__.rpartition(".")[2]

    def make(batch: int, **how: Any) -> Imagination:
        problem = make_problem(TINY, batch)
        return Imagination(problem.weights, problem.latent, **{"backend": name, **how})

    return make
