"""Counter-based random numbers: randomness is an argument, never hidden state.

Philox4x32-10 of Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3"
(SC 2011), and the SplitMix64 mixer of Steele, Lea and Flood (OOPSLA 2014) for deriving seeds.
The words are bit-equal in Python, C++ and CUDA, so a plan does not depend on how it was computed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from planet.errors.checks import check_device
from planet.errors.scalars import whole_number
from planet.errors.short_repr import short_repr

STREAM_ACTIONS: Final = 0
STREAM_STATE: Final = 1
STREAM_EXPLORATION: Final = 2
STREAM_POSTERIOR: Final = 3
STREAM_DITHER: Final = 4

_MASK32: Final = 0xFFFFFFFF
_MASK64: Final = 0xFFFFFFFFFFFFFFFF
_GOLDEN: Final = 0x9E3779B97F4A7C15
_MULTIPLIERS: Final = (0xD2511F53, 0xCD9E8D57)
_WEYL: Final = (0x9E3779B9, 0xBB67AE85)
_ROUNDS: Final = 10


def check_seed(seed: int, kinds: str = "an int") -> int:
    """Returns `seed` as an unsigned 64-bit integer; `kinds` says what the caller takes.

    Raises:
      TypeError: `seed` is neither an int nor a numpy integer.
      ValueError: `seed` lies outside [-2**63, 2**64).
    """
    seed = whole_number("seed", seed, kinds)
    if not -(1 << 63) <= seed < (1 << 64):
        raise ValueError(f"seed: expected a value in [-2**63, 2**64), got {seed}")
    return seed & _MASK64


def check_seeds(
    seeds: Tensor,
    rows: int | None = None,
    device: torch.device | str | None = None,
    name: str = "seed",
) -> None:
    """Checks a tensor of seeds: int64, one per problem; a scalar serves a single problem.

    Raises:
      TypeError: the dtype is not int64.
      ValueError: the shape or the device disagrees (None: any).
    """
    layout = "[B]" if rows is None else f"[B={rows}]"
    if seeds.dtype != torch.int64:
        raise TypeError(f"{name}: expected an int64 tensor {layout}, got {seeds.dtype}")
    if seeds.dim() > 1 or (rows is not None and seeds.numel() != rows):
        raise ValueError(
            f"{name}: expected an int64 tensor {layout}, got shape {list(seeds.shape)}"
        )
    if device is not None:
        check_device(name, seeds, torch.device(device))


def mix_seed(seed: int, word: int) -> int:
    """Derives an independent seed: output number `word` of SplitMix64 started at `seed`.

    Nested calls derive from several words, as in `mix_seed(mix_seed(run, episode), step)`.

    Args:
      seed: any int in [-2**63, 2**64).
      word: non-negative index of the derived seed.

    Returns:
      A signed 64-bit integer, so that it fits an int64 tensor.

    Raises:
      TypeError: `seed` or `word` is not an int.
      ValueError: `seed` or `word` is out of range.
    """
    word = _check_range("word", word, 64)
    z = (check_seed(seed) + (word + 1) * _GOLDEN) & _MASK64
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK64
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK64
    z ^= z >> 31
    return z - (1 << 64) if z >> 63 else z


def row_seeds(seed: int, rows: int, device: torch.device | str = "cpu") -> Tensor:
    """Derives a seed per problem: the first `rows` outputs of SplitMix64 started at `seed`.

    Problem b of a batch planned with `seed` is therefore the same as problem b planned alone
    with `seed=row_seeds(seed, B)[b]`.

    Returns:
      int64 tensor [rows].

    Raises:
      TypeError: `seed` or `rows` is not an int.
      ValueError: `seed` or `rows` is out of range.
    """
    rows = _check_range("rows", rows, 31)
    seeds = [mix_seed(seed, row) for row in range(rows)]
    return torch.tensor(seeds, dtype=torch.int64, device="cpu").to(device)


@dataclass(frozen=True)
class Noise:
    """Names the standard normals of a rollout without drawing them.

    Attributes:
      seed: an int (one seed per problem is derived with `row_seeds`) or an int64 tensor [B].
      iteration: CEM iteration, 0 to 65535.
      particle: which of several draws per candidate, 0 to 2**32 - 1.
    """

    seed: int | Tensor
    iteration: int = 0
    particle: int = 0

    __repr__ = short_repr

    def __post_init__(self) -> None:
        if isinstance(self.seed, Tensor):
            check_seeds(self.seed)
        else:
            check_seed(self.seed, kinds="an int or an int64 tensor [B]")
        for name, bits in (("iteration", 16), ("particle", 32)):
            object.__setattr__(self, name, _check_range(name, getattr(self, name), bits))

    def seeds(self, rows: int, device: torch.device | str) -> Tensor:
        """Returns the seed of every problem, int64 [rows]."""
        return resolve_seeds(self.seed, rows, device)


def resolve_seeds(seed: int | Tensor, rows: int, device: torch.device | str) -> Tensor:
    """Turns an int or a tensor argument into one int64 seed per problem.

    Raises:
      TypeError: neither an int nor an int64 tensor.
      ValueError: an int out of range, or a tensor whose shape or device disagrees.
    """
    if isinstance(seed, Tensor):
        check_seeds(seed, rows, device)
        return seed.reshape(rows)
    check_seed(seed, kinds=f"an int or an int64 tensor [B={rows}]")
    return row_seeds(seed, rows, device)


def philox(counter: tuple[Tensor, Tensor, Tensor, Tensor], key: tuple[Tensor, Tensor]) -> Tensor:
    """Computes Philox4x32-10 on broadcastable int64 tensors that hold 32-bit words.

    Salmon et al. 2011, Section 3.3.

    Args:
      counter: four tensors of words in [0, 2**32).
      key: two tensors of words in [0, 2**32).

    Returns:
      The four output words, stacked in a new last dimension: [..., 4].
    """
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(_ROUNDS):
        # int64 multiplication wraps modulo 2**64, so both 32-bit halves of the product are exact.
        p0, p1 = c0 * _MULTIPLIERS[0], c2 * _MULTIPLIERS[1]
        c0, c1, c2, c3 = (
            ((p1 >> 32) & _MASK32) ^ c1 ^ k0,
            p1 & _MASK32,
            ((p0 >> 32) & _MASK32) ^ c3 ^ k1,
            p0 & _MASK32,
        )
        k0, k1 = (k0 + _WEYL[0]) & _MASK32, (k1 + _WEYL[1]) & _MASK32
    # After three rounds every word depends on every input, so all have the broadcast shape.
    return torch.stack([c0, c1, c2, c3], dim=-1)


def words(
    seeds: Tensor,
    candidates: int,
    dims: int,
    *,
    stream: int,
    time: int | Tensor = 0,
    iteration: int = 0,
    particle: int = 0,
) -> Tensor:
    """Computes Philox words for every problem, candidate and dimension.

    key = (low, high word of the seed); counter = (candidate >> 2, dim | stream << 16,
    time | iteration << 16, particle); word i of a block serves candidate 4q + i.

    Args:
      seeds: int64 [B].
      candidates: how many, from candidate 0.
      dims: how many, from dimension 0, below 65536.
      stream: what the numbers are for, one of `STREAM_*`.
      time: model step, 0 to 65535; or int64 [B], one per problem.
      iteration: 0 to 65535.
      particle: 0 to 2**32 - 1.

    Returns:
      int64 [B, candidates, dims], values in [0, 2**32).
    """
    device = seeds.device
    quads = (candidates + 3) // 4
    when = time | (iteration << 16)
    counter = (
        torch.arange(quads, device=device)[:, None],
        torch.arange(dims, device=device)[None, :] | (stream << 16),
        when[:, None, None] if isinstance(when, Tensor) else _word(when, device),
        _word(particle, device),
    )
    out = philox(counter, _key(seeds[:, None, None]))  # [B, quads, dims, 4]
    out = out.permute(0, 1, 3, 2).reshape(len(seeds), quads * 4, dims)
    return out[:, :candidates]


def uniforms(word: Tensor) -> Tensor:
    """Returns u(w) = ((w >> 8) + 0.5) * 2**-24, exact, in (0, 1), in float64 of the same shape."""
    return ((word >> 8).double() + 0.5) * 2.0**-24


def normals(
    seeds: Tensor,
    candidates: int,
    dims: int,
    *,
    stream: int,
    time: int | Tensor = 0,
    iteration: int = 0,
    particle: int = 0,
) -> Tensor:
    """Computes normals by Box and Muller (1958), a pair of words for two candidates.

    Words (w0, w1) of a block give radius sqrt(-2 ln u(w0)) and angle 2 pi u(w1): the cosine serves
    candidate 4q, the sine 4q + 1; (w2, w3) likewise serve 4q + 2 and 4q + 3. See `words`.

    Returns:
      float32 [B, candidates, dims], computed in float64 and rounded once.
    """
    padded = (candidates + 3) // 4 * 4
    word = words(
        seeds, padded, dims, stream=stream, time=time, iteration=iteration, particle=particle
    )
    pairs = uniforms(word).reshape(len(seeds), padded // 2, 2, dims)
    radius = torch.sqrt(-2.0 * torch.log(pairs[:, :, 0]))
    angle = 2.0 * math.pi * pairs[:, :, 1]
    both = torch.stack([radius * torch.cos(angle), radius * torch.sin(angle)], dim=2)
    return both.reshape(len(seeds), padded, dims)[:, :candidates].float()


def horizon_normals(
    seeds: Tensor,
    horizon: int,
    candidates: int,
    dims: int,
    *,
    stream: int,
    iteration: int = 0,
    particle: int = 0,
) -> Tensor:
    """Computes the normals of times 0 to H - 1 at once, as Philox's operators start slowly.

    Returns:
      float32 [H, B, candidates, dims]; see `normals`.
    """
    batch = len(seeds)
    drawn = normals(
        seeds.repeat(horizon), candidates, dims, stream=stream,
        time=torch.arange(horizon, device=seeds.device).repeat_interleave(batch),
        iteration=iteration, particle=particle,
    )  # fmt: skip
    return drawn.reshape(horizon, batch, candidates, dims)


def dither(seeds: Tensor, steps: int, values: int) -> Tensor:
    """Computes the dither of images, u = (byte + 0.5) / 256: sixteen values of a block's 128 bits.

    key = (low, high word of the seed); counter = (value >> 4, STREAM_DITHER << 16, time, 0); value
    16q + 4i + k of an image, in row-major order, has the bits 8k to 8k + 7 of word i of block q.
    The mean is 0.5 and the stddev sqrt((1 - 2**-16) / 12), 0.2887.

    Args:
      seeds: int64 [B].
      steps: T, how many model steps, from time 0, at most 65536.
      values: N, how many of an image, from the first.

    Returns:
      float32 [T, B, N], exact, in (0, 1).
    """
    device = seeds.device
    counter = (
        torch.arange((values + 15) // 16, device=device),
        _word(STREAM_DITHER << 16, device),
        torch.arange(steps, device=device)[:, None, None],
        _word(0, device),
    )
    word = philox(counter, _key(seeds[:, None])).int()  # [T, B, blocks, 4], the same 32 bits
    shifts = torch.arange(0, 32, 8, device=device, dtype=torch.int32)
    byte = (word[..., None] >> shifts) & 255
    u = byte.flatten(start_dim=2)[..., :values].float()
    return u.add_(0.5).mul_(2.0**-8)


def _key(seeds: Tensor) -> tuple[Tensor, Tensor]:
    return seeds & _MASK32, (seeds >> 32) & _MASK32


def _word(value: int, device: torch.device) -> Tensor:
    """Makes a word on the device, where `torch.tensor` would copy it from the host."""
    return torch.full((), value, dtype=torch.int64, device=device)


def _check_range(name: str, value: int, bits: int) -> int:
    value = whole_number(name, value)
    if not 0 <= value < 1 << bits:
        raise ValueError(f"{name}: expected a value in [0, 2**{bits}), got {value}")
    return value
