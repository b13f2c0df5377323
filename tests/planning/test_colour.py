"""Coloured noise as a matrix, against the recipe that the noise was published by."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
import torch
from golden.model import Case
from golden.search import mix
from torch._subclasses.fake_tensor import FakeTensorMode

from planet.planning.colour import colour_mix

CPU = torch.device("cpu")
HORIZONS = (2, 3, 4, 5, 12, 13, 30)
COLOURS = (0.1, 0.25, 1.0, 2.5, 4.0)
ROUNDED = 1e-6  # of variances up to 4, from a matrix that is rounded to float32


def published(horizon: int, colour: float) -> npt.NDArray[np.float64]:
    """Covariance of the published recipe: each of its normals is followed through the inverse FFT.

    Timmer and Koenig (1995) as the reference implementation of iCEM has it: real and imaginary part
    of frequency f are normal with stddev f^(-colour / 2), frequency 0 has that of the lowest one,
    those that are real have both parts' variance, and all is divided by `sigma`.
    """
    frequency = np.fft.rfftfreq(horizon)
    frequency[0] = frequency[1]
    scale = frequency ** (-colour / 2)
    weight = scale[1:].copy()
    if horizon % 2 == 0:
        weight[-1] /= 2
    sigma = 2 * math.sqrt((weight**2).sum()) / horizon
    columns = []
    for index, stddev in enumerate(scale):
        real = index == 0 or (horizon % 2 == 0 and index == len(scale) - 1)
        for part in [math.sqrt(2)] if real else [1, 1j]:
            spectrum = np.zeros(len(scale), complex)
            spectrum[index] = stddev * part
            columns.append(np.fft.irfft(spectrum, n=horizon) / sigma)
    from_normals = np.array(columns).T
    return from_normals @ from_normals.T


def covariance(horizon: int, colour: float, numerics: str) -> npt.NDArray[np.float64]:
    mix = colour_mix(horizon, colour, numerics, CPU).double().numpy()
    return mix @ mix.T


@pytest.mark.parametrize("horizon", HORIZONS)
@pytest.mark.parametrize("colour", COLOURS)
def test_mixed_normals_have_the_covariance_of_the_published_recipe(
    horizon: int, colour: float
) -> None:
    expected = published(horizon, colour)
    assert np.abs(covariance(horizon, colour, "icem") - expected).max() <= ROUNDED
    unit = expected / expected[0, 0]
    assert np.abs(covariance(horizon, colour, "unit") - unit).max() <= ROUNDED


def test_mixed_normals_are_distributed_as_published() -> None:
    """By numbers drawn through the matrix alone, within six standard errors."""
    draws = 200_000
    normal = np.random.default_rng(0).normal(size=(12, draws))
    mixed = colour_mix(12, 0.25, "icem", CPU).double().numpy() @ normal
    expected = published(12, 0.25)
    spread = np.sqrt((expected**2 + np.outer(np.diag(expected), np.diag(expected))) / draws)
    assert (np.abs(mixed @ mixed.T / draws - expected) <= 6 * spread).all()


@pytest.mark.parametrize("horizon", HORIZONS)
@pytest.mark.parametrize("numerics", ["unit", "icem"])
def test_the_matrix_is_symmetric_and_positive(horizon: int, numerics: str) -> None:
    mix = colour_mix(horizon, 1.5, numerics, CPU)
    assert mix.dtype == torch.float32 and mix.shape == (horizon, horizon)
    assert torch.equal(mix, mix.T)
    assert torch.equal(mix.roll((1, 1), (0, 1)), mix)  # circulant
    assert torch.linalg.eigvalsh(mix.double()).min() > 0


def test_unit_noise_keeps_its_variance_and_the_published_does_not() -> None:
    for colour, variance in ((0.25, 1.16), (2.5, 1.39), (0.0, 8 / 7)):
        assert abs(covariance(12, colour, "unit")[0, 0] - 1) <= ROUNDED
        assert abs(covariance(12, colour, "icem")[0, 0] - variance) <= 6e-3


def test_without_a_colour_the_matrix_is_the_identity() -> None:
    assert (colour_mix(12, 0.0, "unit", CPU) - torch.eye(12)).abs().max() <= 1e-15
    assert torch.equal(colour_mix(1, 2.0, "unit", CPU), torch.ones(1, 1))


def test_a_strong_colour_is_the_slowest_wave_around_a_level() -> None:
    slow = covariance(12, 1000.0, "unit")
    lags = np.arange(12)
    waves = (1 + 2 * np.cos(2 * math.pi * (lags[:, None] - lags) / 12)) / 3
    assert np.abs(slow - waves).max() <= ROUNDED


@pytest.mark.parametrize("horizon", [1, 2, 5, 12])
def test_the_matrix_is_that_of_the_golden_program(horizon: int) -> None:
    for colour in (0.25, 1.5, 2.5):
        expected = mix(Case(seed=0, horizon=horizon, colour=colour))
        assert expected is not None
        got = colour_mix(horizon, colour, "unit", CPU)
        assert torch.allclose(got, torch.from_numpy(expected), rtol=0.0, atol=1e-7)


def test_a_matrix_is_made_once_and_kept() -> None:
    """A captured graph reads it without owning it."""
    first = colour_mix(3, 0.5, "unit", torch.device("cpu"))
    for i in range(100):
        colour_mix(3, 1.0 + i, "unit", torch.device("cpu"))
    assert colour_mix(3, 0.5, "unit", torch.device("cpu")) is first


def test_a_matrix_that_was_only_traced_is_not_kept() -> None:
    with FakeTensorMode():
        colour_mix(7, 0.3, "unit", CPU)
    assert colour_mix(7, 0.3, "unit", CPU).sum() > 0
