"""Ties a task's own generator to the environment's `np_random`."""

from __future__ import annotations

import numpy as np


def task_seed(generator: np.random.Generator) -> int | list[int]:
    """Draws the seed of a task's own generator, a `RandomState`, from an environment's `np_random`.

    A generator that nothing was drawn from gives the seed that it was made from: so `reset(seed=s)`
    starts the episode that the suite itself starts from s. Words are drawn in any case, so that
    the next episode is another one.

    Args:
      generator: decides; it is moved on.

    Returns:
      What `RandomState.seed` takes: a number below 2**32, or 32-bit words, the lowest first.
    """
    seed = unused_seed(generator.bit_generator)
    drawn = [int(word) for word in generator.integers(2**32, size=4)]
    if seed is None or seed < 2**32:
        return drawn if seed is None else seed
    return [seed >> shift & 0xFFFFFFFF for shift in range(0, seed.bit_length(), 32)]


def unused_seed(source: np.random.BitGenerator) -> int | None:
    """Returns the seed that a generator was made from, while nothing has been drawn from it."""
    if not isinstance(source, np.random.PCG64):  # Gymnasium's kind, and numpy's
        return None
    sequence = source.seed_seq
    if not isinstance(sequence, np.random.SeedSequence) or sequence.spawn_key:
        return None
    seed = sequence.entropy
    if not isinstance(seed, (int, np.integer)):
        return None
    return int(seed) if np.random.PCG64(sequence).state == source.state else None
