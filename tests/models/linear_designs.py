"""Linear-Gaussian systems written into the weights of a world model, in float64.

    s[t] = A s[t-1] + B a[t] + w[t],  o[t] = C s[t] + v[t],  v ~ N(0, I), s[-1] = 0

Every layer keeps the positive and the negative part of a vector, and the next one joins them, so
that ReLU bends nothing. The RSSM's belief is tanh of the mean times SMALL, bent by SMALL**2 / 3.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from planet.config import ModelConfig
from planet.models import WorldModel

Matrix = npt.NDArray[np.float64]
SMALL, SATURATED, LEAST = 1e-4, 100.0, 1e-9


@dataclass(frozen=True, eq=False)
class System:
    """A [S, S], B [S, A], C [V, S], and the covariance of w [S, S]."""

    a: Matrix
    b: Matrix
    c: Matrix
    q: Matrix

    def joint(self, steps: int, action: Matrix, first: Matrix | None = None) -> list[Matrix]:
        """Mean [T S] of all states and their covariance, of all observations, and between them.

        `action` is [T, A]; `first` is the covariance of s[0], if it is not that of w.
        """
        size = len(self.a)
        powers = [np.linalg.matrix_power(self.a, k) for k in range(steps)]
        blank = np.zeros((size, size))
        moved = np.block([[powers[t - k] if k <= t else blank for k in range(steps)]
                          for t in range(steps)])  # fmt: skip
        noise = np.kron(np.eye(steps), self.q)
        if first is not None:
            noise[:size, :size] = first
        mean = moved @ (action @ self.b.T).ravel()
        covariance, seen = moved @ noise @ moved.T, np.kron(np.eye(steps), self.c)
        of_seen = seen @ covariance @ seen.T + np.eye(len(seen))
        return [mean, covariance, seen @ mean, of_seen, covariance @ seen.T]

    def log_likelihood(self, observation: Matrix, action: Matrix) -> float:
        """Log density of observations [T, V] under actions [T, A]."""
        _, _, mean, covariance, _ = self.joint(len(action), action)
        error = observation.ravel() - mean
        _, log_determinant = np.linalg.slogdet(2 * math.pi * covariance)
        return float(-0.5 * (log_determinant + error @ np.linalg.solve(covariance, error)))


class Double(WorldModel):
    """A world model in float64."""

    def inputs(self, observation: Mapping[str, Tensor], seeds: Tensor) -> dict[str, Tensor]:
        return {n: x.double() for n, x in super().inputs(observation, seeds).items()}


def written(
    system: System, gain: Matrix, prior_stddev: Matrix, posterior_stddev: Matrix, **design: Any
) -> Double:
    """The model with posterior mean m + gain (o - C m) of prior means m, and stddevs [S].

    An encoder's state is `gain` o. States that are means have no stddevs.
    """
    (size, actions), seen = system.b.shape, len(system.c)
    config = ModelConfig(
        state_size=size, belief_size=size, hidden_size=2 * (size + actions), reward_layers=0,
        vector_hidden=(2 * seen,), min_stddev=LEAST, **design,
    )  # fmt: skip
    model = Double(config, actions, {"vector": (np.float32, (seen,))}).double()
    for parameter in model.parameters():
        torch.nn.init.zeros_(parameter)
    latent, recurrent = model.latent_model, config.belief > 0
    scale = SMALL if recurrent else 1.0
    _write(latent.input, split(np.eye(size + actions)))
    move = join(np.hstack([system.a, system.b]))
    if latent.gru is not None:
        _write_rows(latent.gru.weight_ih, scale * move, 2 * size)
        with torch.no_grad():
            latent.gru.bias_ih[size : 2 * size] = -SATURATED
    _write(latent.prior_hidden, split(np.eye(size) if recurrent else move))
    _write(latent.prior_head, join(np.eye(size)) / scale, prior_stddev)
    read = np.zeros((size, latent.context_size))  # of a prior's mean and stddev, or of a belief
    if latent.context_size:
        read[:, :size] = (np.eye(size) - gain @ system.c) / scale
    _write(latent.posterior_hidden, split(np.hstack([read, join(gain)])))
    _write(latent.posterior_head, join(np.eye(size)), posterior_stddev)
    into = np.hstack([np.zeros((seen, config.belief)), system.c])
    for name, matrix in (("encoders", split(np.eye(seen))), ("decoders", split(into))):
        _write(model.get_submodule(f"{name}.vector.layers.0"), matrix)
    _write(model.get_submodule("decoders.vector.layers.2"), join(np.eye(seen)))
    return model


def split(matrix: Matrix) -> Matrix:
    return np.vstack([matrix, -matrix])


def join(matrix: Matrix) -> Matrix:
    return np.hstack([matrix, -matrix])


def _write(layer: torch.nn.Module, matrix: Matrix, stddev: Matrix | None = None) -> None:
    """Writes the first rows and columns; of a Gaussian head the raw stddevs, too."""
    weight, bias = layer.get_parameter("weight"), layer.get_parameter("bias")
    _write_rows(weight, matrix, 0)
    if stddev is not None and len(bias) > len(stddev):
        raw = [math.log(math.expm1(s - LEAST)) if s > LEAST else -SATURATED for s in stddev]
        with torch.no_grad():
            bias[len(stddev) :] = torch.tensor(raw)


def _write_rows(weight: Tensor, matrix: Matrix, first: int) -> None:
    rows, columns = matrix.shape
    with torch.no_grad():
        weight[first : first + rows, :columns] = torch.from_numpy(matrix)
