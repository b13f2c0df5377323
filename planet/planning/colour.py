"""Coloured noise as a matrix: normals that are multiplied by it along time have its spectrum."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from planet.ops.tracing import has_values

_KEPT: dict[tuple[int, float, str, torch.device], Tensor] = {}
"""All that were made: a captured graph reads its matrix as long as it lives."""


def colour_mix(horizon: int, colour: float, numerics: str, device: torch.device) -> Tensor:
    """Computes the symmetric square root of the covariance of 1/f^colour noise.

    Timmer and Koenig, "On generating power law noise" (A&A 300, 1995): frequency k/H has the power
    (k/H)^-colour up to k = H/2, and frequency 0 that of k = 1. So the covariance is circulant, its
    eigenvalues are the powers, and row t of the square root is a sum of cosines:

        mix[t, u] = sum over k of sqrt(eigenvalue[k]) cos(2 pi k (t - u) / H) / H

    Args:
      horizon: H.
      colour: exponent of the power; 0: the identity, but for `numerics`.
      numerics: "unit": every normal keeps variance 1; "icem": its variance is that of the published
        iCEM, which leaves frequency 0 out where it normalises, and counts half of frequency 1/2.
      device: of the matrix. It is made once, and not to be written.

    Returns:
      float32 [H, H], computed in float64 and rounded once.
    """
    key = horizon, colour, numerics, device
    if key not in _KEPT:
        matrix = _matrix(*key)
        if not has_values(matrix):
            return matrix
        _KEPT[key] = matrix
    return _KEPT[key]


def _matrix(horizon: int, colour: float, numerics: str, device: torch.device) -> Tensor:
    roots = [math.sqrt(value) for value in _eigenvalues(horizon, colour, numerics)]
    wave = [math.cos(2.0 * math.pi * min(m, horizon - m) / horizon) for m in range(horizon)]
    row = [
        sum(root * wave[k * lag % horizon] for k, root in enumerate(roots)) / horizon
        for lag in range(horizon)
    ]
    # Bit for bit symmetric: a lag and its mirror image have the same cosines in the same order.
    with torch.inference_mode(False):  # such a tensor could not be used outside of it
        first = torch.tensor(row, dtype=torch.float64, device="cpu")
        lags = torch.arange(horizon, device="cpu")
        return first[(lags[:, None] - lags) % horizon].float().to(device)


def _eigenvalues(horizon: int, colour: float, numerics: str) -> list[float]:
    """Returns those of the covariance, frequency by frequency."""
    powers = [max(min(k, horizon - k), 1) ** -colour for k in range(horizon)]
    if numerics == "unit":
        total = sum(powers)
    else:
        half = powers[1 : horizon // 2 + 1]
        total = 2.0 * sum(half[:-1]) + (0.5 if horizon % 2 == 0 else 2.0) * half[-1]
    return [power * horizon / total for power in powers]
