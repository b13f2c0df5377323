"""SplitMix64, Philox4x32-10 and Box-Muller normals in float64 NumPy."""

from __future__ import annotations

import numpy as np

STREAM_ACTIONS, STREAM_STATE = 0, 1


def splitmix64(seed: int, count: int) -> np.ndarray:
    """The first `count` outputs of SplitMix64 started at `seed`, uint64 [count]."""
    with np.errstate(over="ignore"):
        step = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z = np.uint64(seed % 2**64) + step
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


def philox4x32_10(counter: tuple, key: tuple[int, int]) -> tuple[np.ndarray, ...]:
    """Ten rounds of Philox on four broadcastable counter words and two key words."""
    low = np.uint64(0xFFFFFFFF)
    c0, c1, c2, c3 = np.broadcast_arrays(*[np.asarray(c, dtype=np.uint64) for c in counter])
    k0, k1 = np.uint64(key[0]), np.uint64(key[1])
    for _ in range(10):
        product0 = np.uint64(0xD2511F53) * c0  # 32 x 32 bits fit into 64
        product1 = np.uint64(0xCD9E8D57) * c2
        high0, low0 = product0 >> np.uint64(32), product0 & low
        high1, low1 = product1 >> np.uint64(32), product1 & low
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
        k0, k1 = (k0 + np.uint64(0x9E3779B9)) & low, (k1 + np.uint64(0xBB67AE85)) & low
    return c0, c1, c2, c3


def normals(
    seed: int, candidates: int, dims: int, stream: int, t: int, iteration: int, particle: int = 0
) -> np.ndarray:
    """Standard normals [candidates, dims] of one problem, float64."""
    out = np.empty((candidates + 3, dims))
    quads = np.arange((candidates + 3) // 4)[:, None]
    counter = (quads, np.arange(dims)[None] + stream * 65536, t + iteration * 65536, particle)
    words = philox4x32_10(counter, (seed % 2**32, seed // 2**32))
    u0, u1, u2, u3 = [((w // np.uint64(256)).astype(np.float64) + 0.5) / 2**24 for w in words]
    first, second = np.sqrt(-2 * np.log(u0)), np.sqrt(-2 * np.log(u2))
    blocks = [
        first * np.cos(2 * np.pi * u1),
        first * np.sin(2 * np.pi * u1),
        second * np.cos(2 * np.pi * u3),
        second * np.sin(2 * np.pi * u3),
    ]
    for i, block in enumerate(blocks):
        rows = out[i::4]
        rows[: len(block)] = block[: len(rows)]
    return out[:candidates]
