"""Filter steps on CUDA devices: draws by the kernels, products by PyTorch."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from ops.cuda.support import Device
from ops.test_filter_step import exact
from ops.tolerances import FILTER_STEP, latent_error
from random_filters import FilterProblem, make_filter_problem
from random_weights import PRESET_SIZES
from torch.backends import cudnn

from planet.latent import LatentState
from planet.ops import fused
from planet.weights.shapes import EncoderSizes

SMALL = PRESET_SIZES["small"], EncoderSizes(32, 5, (8, 16, 32), (4, 4, 4), (2, 2, 2))


def moved(problem: FilterProblem, place: str) -> FilterProblem:
    parts = problem.action, problem.observation, problem.seeds
    latent = problem.latent.to(place)
    return FilterProblem(problem.weights.to(place), latent, *(part.to(place) for part in parts))


@pytest.fixture(autouse=True)
def whole_float32() -> Iterator[None]:
    """Keeps convolutions from tensor cores, which round their operands to eleven bits."""
    before = cudnn.allow_tf32
    cudnn.allow_tf32 = False
    yield
    cudnn.allow_tf32 = before


@pytest.mark.parametrize(("activation", "stddev"), [("relu", "add"), ("elu", "clamp")])
def test_a_step_agrees_with_float64(device: Device, activation: str, stddev: str) -> None:
    for problem in (
        make_filter_problem(batch=3, activation=activation, stddev=stddev),
        make_filter_problem(*SMALL, 2, activation=activation, stddev=stddev),
    ):
        got = moved(problem, device.place).step(fused)
        assert got.state.device.type == device.place
        there = LatentState(got.belief.cpu(), got.state.cpu())
        assert latent_error(there, exact(problem)) < FILTER_STEP


def test_autocast_changes_nothing(device: Device) -> None:
    problem = moved(make_filter_problem(batch=3), device.place)
    expected = problem.step(fused)
    with torch.autocast(device.place, dtype=torch.bfloat16):
        got = problem.step(fused)
    assert got.belief.equal(expected.belief)
    assert got.state.equal(expected.state)
