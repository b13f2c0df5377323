"""Draws the chunks that a batch is made of."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]


def draw_uniform(
    starts: Integers, count: int, generator: np.random.Generator
) -> tuple[Integers, Integers]:
    """Draws chunk starts, each start of each episode equally likely, with replacement.

    Args:
      starts: [E] number of valid chunk starts per episode; some are above 0.
      count: number of draws.
      generator: source of randomness.

    Returns:
      [count] index of the episode and [count] start within it.
    """
    ends = np.cumsum(starts)
    draws = generator.integers(0, ends[-1], size=count)
    episodes = np.searchsorted(ends, draws, side="right")
    return episodes, draws - (ends - starts)[episodes]


def draw_recent(
    starts: Integers,
    recent: npt.NDArray[np.bool_],
    share: float,
    count: int,
    generator: np.random.Generator,
) -> tuple[Integers, Integers]:
    """Draws a share of the chunks from recent episodes, the others from the rest; independently.

    google-research/planet c04226b, tools/numpy_episodes.py `recent_loader`: within each side the
    episode is uniform, then its start. If one side is empty, all draws come from the other.

    Arguments and results are those of `draw_uniform`; `recent` [E] marks the recent episodes, and
    `share`, 0 to 1, is the probability of one.
    """
    sides = [np.flatnonzero(recent & (starts > 0)), np.flatnonzero(~recent & (starts > 0))]
    share = share if len(sides[0]) and len(sides[1]) else float(len(sides[0]) > 0)
    side = (generator.random(count) >= share).astype(np.int64)  # 0: recent
    sizes = np.array([len(episodes) for episodes in sides])
    position = generator.integers(0, np.maximum(sizes[side], 1))
    padded = np.zeros((len(sides), sizes.max()), np.int64)
    for row, episodes in enumerate(sides):
        padded[row, : len(episodes)] = episodes
    episodes = padded[side, position]
    return episodes, generator.integers(0, starts[episodes])
