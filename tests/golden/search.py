"""The search over action sequences in float64 NumPy: the cross-entropy method and its relatives."""

from __future__ import annotations

import numpy as np
from golden.model import Case, returns_of_problem
from golden.random_numbers import STREAM_ACTIONS, STREAM_STATE, normals


def mix(case: Case) -> np.ndarray | None:
    """Float32 [H, H]: normals times it have a spectrum of 1 / frequency^colour, and variance 1.

    A symmetric square root of the covariance that Timmer and Koenig's (1995) noise has: of
    H equally spaced times of a period, frequency 0 as powerful as the lowest one.
    """
    if case.colour is None:
        return None
    h = case.horizon
    frequency = np.minimum(np.arange(h), h - np.arange(h)) / h
    power = np.maximum(frequency, 1 / h) ** -case.colour
    t = np.arange(h)
    covariance = np.zeros((h, h))
    for k in range(h):
        covariance += power[k] * np.cos(2 * np.pi * k * (t[:, None] - t[None]) / h)
    values, vectors = np.linalg.eigh(covariance / covariance[0, 0])
    return ((vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T).astype(np.float32)


def rank(returns: np.ndarray) -> list[int]:
    """Candidates by descending return, NaN last, ties to the lower index."""
    return sorted(
        range(len(returns)), key=lambda j: (bool(np.isnan(returns[j])), -returns[j] if
                                            not np.isnan(returns[j]) else 0.0, j)
    )  # fmt: skip


def weights(returns: np.ndarray, temperature: float) -> np.ndarray:
    """Weighs elites by their returns: softmax((R - max R) / temperature)."""
    numbers = ~np.isnan(returns)
    if not numbers.any():
        return np.full(len(returns), 1 / len(returns))
    best = returns[numbers].max()
    if np.isinf(best):
        chosen = (returns == best).astype(np.float64)
    else:
        chosen = np.exp((np.where(numbers, returns, -np.inf) - best) / temperature)
    return chosen / chosen.sum()


def refit(
    actions: np.ndarray, returns: np.ndarray, case: Case
) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """Mean and stddev [H, A] of the elites of one problem's actions [H, J, A], and the elites."""
    elites = rank(returns)[: case.topk]
    chosen = actions[:, elites]
    if case.temperature is not None:
        weight = weights(returns[elites].astype(np.float64), case.temperature)[None, :, None]
        mean = (weight * chosen).sum(axis=1)
        variance = (weight * (chosen - mean[:, None]) ** 2).sum(axis=1)
        return mean, np.sqrt(variance + case.epsilon), elites
    mean = chosen.sum(axis=1) / case.topk
    error = chosen - mean[:, None]
    if case.spread == "population":
        stddev = np.sqrt((error**2).sum(axis=1) / case.topk + case.epsilon)
    else:
        stddev = np.abs(error).sum(axis=1) / (case.topk - 1)
    return mean, stddev, elites


def candidates_of(
    case: Case, mean: np.ndarray, stddev: np.ndarray, kept: np.ndarray, draw: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Actions [H, J + E, A] of an iteration from its normals, and which of them are none, [J + E].

    Kept sequences [H, E, A] come last, with open entries drawn without the mix. One whose first
    step is open is none and has 0 for its actions.
    """
    drawn = np.clip(mean[:, None] + stddev[:, None] * draw, case.low, case.high)
    mixing, none = mix(case), np.zeros(draw.shape[1], bool)
    actions = drawn.copy()
    if mixing is not None:
        mixed = np.einsum("tu,uja->tja", mixing.astype(np.float64), draw)
        actions = np.clip(mean[:, None] + stddev[:, None] * mixed, case.low, case.high)
    if case.keep:
        none[-case.keep :] = np.isnan(kept[0]).any(axis=1)
        again = np.where(np.isnan(kept), drawn[:, -case.keep :], np.clip(kept, case.low, case.high))
        actions[:, -case.keep :] = again
    return np.where(none[None, :, None], 0.0, actions), none


def gap(returns: np.ndarray, order: list[int], case: Case) -> float:
    """The smallest difference between neighbours in rank whose order decides a result."""
    neighbours = {case.topk, *range(1, case.keep + 1), *((1,) if case.output == "best" else ())}
    numbers = returns[order][~np.isnan(returns[order])]
    falls = numbers[:-1] - numbers[1:]
    return min((falls[k - 1] for k in neighbours if k <= len(falls)), default=np.inf)


def search_problem(
    w: dict[str, np.ndarray], case: Case, belief: np.ndarray, state: np.ndarray, seed: int,
    kept: np.ndarray,
) -> dict[str, np.ndarray]:  # fmt: skip
    """All iterations of one problem from mean 0: mean, stddev [I, H, A], best, rms, gap [I].

    Searches that keep sequences give them as kept [I, H, E, A], those that return the best
    candidate's action give it as action [I, A].
    """
    mean = np.zeros((case.horizon, case.action))
    stddev = np.full_like(mean, case.initial_stddev)
    out: dict[str, list] = {}
    for i, count in enumerate(case.counts or (case.candidates,) * case.iterations):
        j, iteration = count + case.keep, case.first_iteration + i
        draw, noise = (
            np.stack([normals(seed, j, n, stream, t, iteration) for t in range(case.horizon)])
            for n, stream in ((case.action, STREAM_ACTIONS), (case.state, STREAM_STATE))
        )
        actions, none = candidates_of(case, mean, stddev, kept, draw)
        starts = (belief, state) if case.per_candidate else (belief[:1], state[:1])
        starts = [np.broadcast_to(start, (j, start.shape[1])) for start in starts]
        with_noise = noise if case.state_noise else None
        returns = returns_of_problem(w, case, *starts, actions, with_noise)
        returns = np.where(none, np.nan, returns)
        fitted, spread, elites = refit(actions, returns, case)
        mean = case.momentum * mean + (1 - case.momentum) * fitted
        stddev = case.momentum * stddev + (1 - case.momentum) * spread
        kept, rms = actions[:, elites[: case.keep]], np.sqrt(np.mean(returns[~none] ** 2))
        now = {"mean": mean, "stddev": stddev, "best": returns[elites[0]], "rms": rms}
        now |= {"gap": gap(returns, rank(returns), case) / max(rms, 1e-2), "elites": elites}
        now |= {"kept": kept} if case.keep else {}
        now |= {"action": actions[0, elites[0]]} if case.output == "best" else {}
        for name, value in now.items():
            out.setdefault(name, []).append(value)
    return {name: np.array(value) for name, value in out.items()}
