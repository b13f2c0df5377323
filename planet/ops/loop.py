"""The loop of sampling planners, for returns from anywhere: draw, score, refit, repeat."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from planet.errors.short_repr import short_repr
from planet.noise import STREAM_ACTIONS, Noise, horizon_normals
from planet.ops.checks import CEMSettings
from planet.protocols import Plan


@dataclass(frozen=True, eq=False)
class Fit:
    """Holds a refit before it is rounded: mean and stddev are float64 (see `results.Refit`)."""

    mean: Tensor
    stddev: Tensor
    elites: Tensor
    best: Tensor

    __repr__ = short_repr


def fit(
    actions: Tensor,
    returns: Tensor,
    topk: int,
    spread: str,
    epsilon: float,
    temperature: float | None,
) -> Fit:
    """Fits mean and stddev to the K best candidates; see `planet.ops.reference.refit`."""
    # Ascending order of the negated return puts NaN last, and a stable sort keeps ties by index.
    elites = torch.sort(-returns, dim=-1, stable=True).indices[:, :topk]
    chosen = _of(actions, elites).double()
    best = returns.gather(1, elites)
    if temperature is None:
        mean = chosen.mean(dim=2)
        error = chosen - mean[:, :, None]
        if spread == "population":
            stddev = torch.sqrt(error.square().mean(dim=2) + epsilon)
        else:
            stddev = error.abs().sum(dim=2) / (topk - 1)
    else:
        weight = _softmax(best.double(), temperature)[None, :, :, None]
        mean = (weight * chosen).sum(dim=2)
        error = chosen - mean[:, :, None]
        stddev = torch.sqrt((weight * error.square()).sum(dim=2) + epsilon)
    return Fit(mean, stddev, elites, best[:, 0])


def cem_loop(
    score: Callable[[Tensor, Noise], Tensor],
    mean: Tensor,
    stddev: Tensor,
    low: Tensor,
    high: Tensor,
    seeds: Tensor,
    settings: CEMSettings,
    mix: Tensor | None = None,
    kept: Tensor | None = None,
) -> Plan:
    """Draws, scores and refits, with returns from anywhere; see `planet.ops.reference.cem_plan`.

    Args:
      score: gives returns [B, J] of actions [H, B, J, A].
      mean: [H, B, A], of the first iteration's action distribution.
      stddev: [H, B, A].
      low: smallest actions, [B, A].
      high: largest actions, [B, A].
      seeds: int64 [B].
      settings: checked; only those of drawing, refitting and time are read.
      mix: [H, H], or None.
      kept: [H, B, E, A], or None.
    """
    keep, momentum = settings.keep, settings.momentum
    bounds = low[None, :, None], high[None, :, None]
    if kept is None:
        horizon, batch, size = mean.shape
        kept = mean.new_full((horizon, batch, keep, size), torch.nan)
    clock = _no_clock if settings.budget_ms is None else time.perf_counter
    started = clock()
    longest, done, action, best = 0.0, 0, mean[0], mean.new_empty(mean.shape[1])
    for count in settings.candidates:
        began = clock()
        if done and _late(began - started + longest, settings.budget_ms):
            break
        iteration = settings.first_iteration + done
        normal = draw_normals(seeds, count + (0 if done else keep), mean, iteration)
        actions = actions_around(mean, stddev, mixed(mix, normal[:, :, :count]), *bounds)
        if keep:
            if not done:
                drawn = actions_around(mean, stddev, normal[:, :, count:], *bounds)
                kept = _completed(kept.clamp(*bounds), drawn)
            actions = torch.cat([actions, kept], dim=2)
        returns = score(actions, Noise(seeds, iteration))
        if keep:
            returns = returns.masked_fill(_is_none(actions), torch.nan)
        how = settings.topk, settings.spread, settings.epsilon, settings.temperature
        fitted = fit(actions, returns, *how)
        mean = _rounded(momentum, mean, fitted.mean)
        stddev = _rounded(momentum, stddev, fitted.stddev)
        kept, best = _of(actions, fitted.elites[:, :keep]), fitted.best
        action = mean[0]
        if settings.output == "best":
            action = _of(actions[:1], fitted.elites[:, :1])[0, :, 0]
        longest, done = max(longest, clock() - began), done + 1
    return Plan(action.clone(), mean, stddev, best, done, kept)


def mixed(mix: Tensor | None, normal: Tensor) -> Tensor:
    """Multiplies normals [H, ...] by `mix` [H, H] along time."""
    if mix is None:
        return normal
    rows = mix.double() @ normal.double().flatten(1)
    return rows.float().reshape(normal.shape)


def draw_normals(seeds: Tensor, candidates: int, mean: Tensor, iteration: int) -> Tensor:
    """Draws the normals [H, B, J, A] of an iteration's actions."""
    horizon, _, size = mean.shape
    return horizon_normals(
        seeds, horizon, candidates, size, stream=STREAM_ACTIONS, iteration=iteration
    )


def actions_around(
    mean: Tensor, stddev: Tensor, normal: Tensor, low: Tensor, high: Tensor
) -> Tensor:
    """Turns normals [H, B, J, A] into actions around mean and stddev [H, B, A]."""
    return (mean[:, :, None] + stddev[:, :, None] * normal).clamp(low, high)


def _is_none(actions: Tensor) -> Tensor:
    """Tells which sequences [H, B, J, A] are none, as their first step is open: bool [B, J]."""
    return actions[0].isnan().any(dim=-1)


def _completed(kept: Tensor, drawn: Tensor) -> Tensor:
    """Draws the open entries of sequences [H, B, E, A], and all of none becomes NaN."""
    whole = torch.where(kept.isnan(), drawn, kept)
    return whole.masked_fill(_is_none(kept)[None, :, :, None], torch.nan)


def _of(actions: Tensor, candidates: Tensor) -> Tensor:
    """Returns the actions [H, B, K, A] of some candidates [B, K]."""
    horizon, _, _, size = actions.shape
    index = candidates[None, :, :, None].expand(horizon, -1, -1, size)
    return actions.gather(2, index)


def _softmax(returns: Tensor, temperature: float) -> Tensor:
    """Weighs returns [B, K] in the order of their rank: the first is the largest, if not NaN."""
    largest = returns[:, :1]
    weight = torch.exp((returns - largest) / temperature)
    # Where it is infinite, those that equal it share; where it is NaN, all do.
    weight = torch.where(largest.isinf(), (returns == largest).double(), weight)
    weight = torch.where(largest.isnan(), 1.0, weight.nan_to_num(nan=0.0))
    return weight / weight.sum(dim=1, keepdim=True)


def _rounded(momentum: float, before: Tensor, fitted: Tensor) -> Tensor:
    if momentum:
        fitted = momentum * before.double() + (1.0 - momentum) * fitted
    return fitted.float()


def _late(seconds: float, budget_ms: float | None) -> bool:
    return budget_ms is not None and seconds * 1e3 > budget_ms


def _no_clock() -> float:
    """Stands for the clock where time does not count: torch.compile cannot read one."""
    return 0.0
