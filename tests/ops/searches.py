"""Lists searches of every kind for the tests of `cem_plan`, and makes an iteration by hand."""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import Any

import torch
from ops.tolerances import RETURNS, gap
from random_weights import Problem
from torch import Tensor

from planet.noise import STREAM_ACTIONS, Noise, normals, resolve_seeds
from planet.ops import draws, reference

HORIZON = 5
NAN = float("nan")
ICEM: dict[str, Any] = {
    "candidates": [36, 20, 17], "topk": 6, "iterations": 3, "mix": "colour", "keep": 3,
    "momentum": 0.1, "output": "best",
}  # fmt: skip
MPPI: dict[str, Any] = {"candidates": 40, "topk": 12, "iterations": 3, "temperature": 0.3}
WARM: dict[str, Any] = {"candidates": 30, "topk": 5, "iterations": 3, "keep": 4, "kept": "rows"}
SEARCHES: dict[str, dict[str, Any]] = {
    "icem": ICEM,
    "mppi": MPPI,
    "warm": WARM,
    "all": ICEM | MPPI | WARM | {"candidates": (30, 41, 12), "low": -0.4, "high": 0.7},
    "every candidate an elite": {"candidates": 9, "topk": 9, "iterations": 2, "keep": 9},
    "one elite": WARM | {"topk": 1, "keep": 1},
    "mean absolute": ICEM | {"spread": "mean_absolute"},
    "counts": {"candidates": [7, 65, 16, 130], "topk": 7, "iterations": 4, "discount": 0.9},
}
"""Settings of `cem_plan`, with words for the tensors that `search` makes."""

UNMIXED = {name: how | {"mix": None} for name, how in SEARCHES.items()}
"""The same without `mix`, so that actions are known to the last bit."""


ONE: dict[str, Any] = {"candidates": 24, "topk": 6, "iterations": 1}


def somewhere(batch: int, size: int = 2) -> tuple[Tensor, Tensor]:
    """Gives a mean and stddev that differ from entry to entry."""
    generator = torch.Generator().manual_seed(0)
    shape = (HORIZON, batch, size)
    mean = torch.rand(shape, generator=generator) - 0.5
    return mean, torch.rand(shape, generator=generator) + 0.1


def colour(horizon: int) -> Tensor:
    """A full matrix [H, H] whose rows have norm 1."""
    generator = torch.Generator().manual_seed(horizon)
    matrix = torch.eye(horizon) + 0.4 * torch.randn(horizon, horizon, generator=generator)
    return matrix / matrix.norm(dim=1, keepdim=True)


def sequences(horizon: int, batch: int, keep: int, size: int) -> Tensor:
    """Kept sequences [H, B, E, A] that reach out of [-1, 1].

    The first has an open tail, of the second single entries are open, the last one of the first row
    is none for want of a number. The second row is cold.
    """
    generator = torch.Generator().manual_seed(keep)
    kept = torch.rand(horizon, batch, keep, size, generator=generator) * 2.6 - 1.3
    kept[horizon // 2 :, :, 0] = NAN
    kept[1::2, :, keep // 2, -1] = NAN
    if keep > 1:
        kept[0, 0, -1, -1] = NAN
    kept[:, 1:2] = NAN
    return kept


def search(problem: Problem, how: dict[str, Any], horizon: int = HORIZON) -> dict[str, Any]:
    """Makes arguments of `cem_plan` from settings, with tensors for words."""
    given = {"seed": 1} | how
    if isinstance(given.get("mix"), str):
        given["mix"] = colour(horizon)
    if isinstance(given.get("kept"), str):
        shape = horizon, problem.batch, given["keep"], problem.weights.action_size
        given["kept"] = sequences(*shape)
    return given


def iteration_of(how: dict[str, Any], number: int) -> dict[str, Any]:
    """Returns the settings of one iteration alone."""
    candidates = how["candidates"]
    if not isinstance(candidates, int):
        candidates = [candidates[number]]
    return how | {"candidates": candidates, "iterations": 1, "first_iteration": number}


# ---- An iteration by hand ------------------------------------------------------------------------


@dataclass(frozen=True)
class Iteration:
    """Holds what an iteration leads to; mean and stddev are float64."""

    mean: Tensor
    stddev: Tensor
    action: Tensor
    best_return: Tensor
    kept: Tensor
    returns: Tensor


def drawn(ops: ModuleType, seeds: Tensor, shape: tuple[int, int, int], iteration: int) -> Tensor:
    """Draws the normals [H, B, J, A] that a backend's plan draws, to the last bit."""
    horizon, candidates, size = shape
    steps = []
    for t in range(horizon):
        how = seeds, candidates, size
        place = {"stream": STREAM_ACTIONS, "time": t, "iteration": iteration}
        if ops is reference:
            steps.append(normals(*how, **place))
        else:
            step = draws.compiled("normals", *how, STREAM_ACTIONS, t, iteration, 0)
            assert step is not None
            steps.append(step)
    return torch.stack(steps)


def mixed(mix: Tensor | None, normal: Tensor) -> Tensor:
    """Sums over time one after the other, in float32."""
    if mix is None:
        return normal
    rows = []
    for weights in mix:
        row = torch.zeros_like(normal[0])
        for weight, value in zip(weights, normal, strict=True):
            row = row + weight * value
        rows.append(row)
    return torch.stack(rows)


def weights_of(returns: list[float], temperature: float | None) -> Tensor:
    """Computes what elites count for, by a softmax of numbers."""
    values = torch.tensor(returns, dtype=torch.float64)
    if temperature is None or values.isnan().all():
        return torch.full_like(values, 1 / len(returns))
    numbers = ~values.isnan()
    if values[numbers].max().isinf():
        chosen = (values == values[numbers].max()).double()
        return chosen / chosen.sum()
    weights = torch.zeros_like(values)
    weights[numbers] = torch.softmax(values[numbers] / temperature, dim=0)
    return weights


def ranked(returns: list[float]) -> list[int]:
    """Sorts candidates: the largest return first, NaN last, the lower number first among equals."""
    nan = [value != value for value in returns]
    return sorted(range(len(returns)), key=lambda j: (nan[j], 0.0 if nan[j] else -returns[j], j))


def decided(returns: Tensor, topk: int, keep: int = 0, **other: object) -> bool:
    """Whether what is chosen of returns [B, J] is so beyond roundings: elites and first ranks."""
    for row in returns:
        numbers = row[~row.isnan()][None]
        ranks = {topk, *range(1, max(keep, 1) + 1)} & set(range(1, numbers.shape[1]))
        if any(gap(numbers, rank) <= 10 * RETURNS[1.0] for rank in ranks):
            return False
    return True


def by_hand(
    ops: ModuleType, problem: Problem, mean: Tensor, stddev: Tensor, *,
    seed: int | Tensor, candidates: Any, topk: int, iterations: int = 1, first_iteration: int = 0,
    low: float = -1.0, high: float = 1.0, spread: str = "population", epsilon: float = 1e-6,
    state_noise: bool = True, mix: Tensor | None = None, kept: Tensor | None = None, keep: int = 0,
    momentum: float = 0.0, temperature: float | None = None, output: str = "mean", **how: Any,
) -> Iteration:  # fmt: skip
    """Makes one iteration of `cem_plan`, of which only the rollouts are the backend's.

    Elites, weights and refits are computed sequence by sequence, so that nothing is shared with the
    loop under test.
    """
    assert iterations == 1
    (horizon, batch, size), count = mean.shape, candidates
    if not isinstance(candidates, int):
        (count,) = candidates
    seeds = resolve_seeds(seed, batch, mean.device)
    normal = drawn(ops, seeds, (horizon, count + keep, size), first_iteration)
    plain = (mean[:, :, None] + stddev[:, :, None] * normal).clamp(low, high)
    actions = mean[:, :, None] + stddev[:, :, None] * mixed(mix, normal)
    actions = actions.clamp(low, high)
    none = torch.zeros(batch, count + keep, dtype=torch.bool)
    if keep:
        old = torch.full((horizon, batch, keep, size), NAN) if kept is None else kept
        none[:, count:] = old[0].isnan().any(dim=-1)
        actions[:, :, count:] = torch.where(old.isnan(), plain[:, :, count:], old.clamp(low, high))
    noise = Noise(seeds, first_iteration) if state_noise else None
    returns = problem.returns(ops, actions, noise, **how).masked_fill(none, NAN)
    new_mean, new_stddev = mean.double(), stddev.double()
    action, best = torch.empty(batch, size), torch.empty(batch)
    again = torch.empty(horizon, batch, keep, size)
    for b in range(batch):
        values = returns[b].tolist()
        elites = ranked(values)[:topk]
        weights = weights_of([values[j] for j in elites], temperature)[None, :, None]
        chosen = actions[:, b, elites].double()
        middle = (weights * chosen).sum(dim=1)
        error = chosen - middle[:, None]
        if spread == "population":
            width = ((weights * error.square()).sum(dim=1) + epsilon).sqrt()
        else:
            width = error.abs().sum(dim=1) / (topk - 1)
        new_mean[:, b] = momentum * mean[:, b].double() + (1 - momentum) * middle
        new_stddev[:, b] = momentum * stddev[:, b].double() + (1 - momentum) * width
        action[b], best[b] = actions[0, b, elites[0]], returns[b, elites[0]]
        again[:, b] = actions[:, b, elites[:keep]]
    if output == "mean":
        action = new_mean[0].float()
    return Iteration(new_mean, new_stddev, action, best, again, returns)
