"""Seeds, Philox words, uniforms, normals: known answers, statistics, the layout of counters."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor

from planet.noise import (
    STREAM_ACTIONS,
    STREAM_DITHER,
    STREAM_EXPLORATION,
    STREAM_POSTERIOR,
    STREAM_STATE,
    Noise,
    dither,
    horizon_normals,
    mix_seed,
    normals,
    philox,
    resolve_seeds,
    row_seeds,
    uniforms,
    words,
)

STREAMS = (STREAM_ACTIONS, STREAM_STATE, STREAM_EXPLORATION, STREAM_POSTERIOR, STREAM_DITHER)

# Random123 1.14, tests/kat_vectors, philox4x32 with 10 rounds: counter, key, result.
RANDOM123 = [
    (
        "00000000 00000000 00000000 00000000", "00000000 00000000",
        "6627e8d5 e169c58d bc57ac4c 9b00dbd8",
    ),
    (
        "ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff",
        "408f276d 41c83b0e a20bc7c6 6d5451fd",
    ),
    (
        "243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0",
        "d16cfe09 94fdcceb 5001e420 24126ea1",
    ),
]  # fmt: skip


def hexadecimal(text: str) -> list[int]:
    return [int(word, 16) for word in text.split()]


@pytest.mark.parametrize(("counter", "key", "result"), RANDOM123)
def test_philox_gives_the_known_answers_of_random123(counter: str, key: str, result: str) -> None:
    c0, c1, c2, c3 = (torch.tensor(word) for word in hexadecimal(counter))
    k0, k1 = (torch.tensor(word) for word in hexadecimal(key))
    assert philox((c0, c1, c2, c3), (k0, k1)).tolist() == hexadecimal(result)


def test_splitmix64_gives_its_known_answers() -> None:
    expected = [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F, 0xF88BB8A8724C81EC]
    assert [mix_seed(0, word) % 2**64 for word in range(4)] == expected
    assert [seed % 2**64 for seed in row_seeds(0, 4).tolist()] == expected
    # Output 0 of a generator started at 1234567, as published with the Java original.
    assert mix_seed(1234567, 0) % 2**64 == 6457827717110365317


def test_row_seeds_are_int64_and_a_prefix_of_longer_batches() -> None:
    assert row_seeds(5, 7).dtype == torch.int64
    assert torch.equal(row_seeds(5, 7)[:3], row_seeds(5, 3))
    assert len(set(row_seeds(5, 1000).tolist() + row_seeds(6, 1000).tolist())) == 2000


def test_a_negative_seed_and_its_unsigned_twin_are_the_same() -> None:
    assert torch.equal(row_seeds(-1, 4), row_seeds(2**64 - 1, 4))


def test_words_have_the_counter_layout_of_the_contract() -> None:
    seed, stream, time, iteration, particle = 0x0123456789ABCDEF, 3, 258, 40_000, 2**32 - 2
    at = {"stream": stream, "time": time, "iteration": iteration, "particle": particle}
    got = words(torch.tensor([seed]), 11, 6, **at)[0]
    key = (torch.tensor(0x89ABCDEF), torch.tensor(0x01234567))
    for candidate, dim in itertools.product(range(11), range(6)):
        counter = (candidate >> 2, dim | stream << 16, time | iteration << 16, particle)
        c0, c1, c2, c3 = (torch.tensor(word) for word in counter)
        assert got[candidate, dim] == philox((c0, c1, c2, c3), key)[candidate & 3]


def test_uniforms_are_exact_and_inside_the_open_interval() -> None:
    word = torch.tensor([0, 255, 256, 2**31, 2**32 - 1])
    expected = [0.5 / 2**24, 0.5 / 2**24, 1.5 / 2**24, 0.5 + 0.5 / 2**24, 1 - 0.5 / 2**24]
    assert uniforms(word).tolist() == expected


def test_normals_are_the_box_muller_pairs_of_the_contract() -> None:
    seeds = row_seeds(9, 2)
    u = uniforms(words(seeds, 8, 5, stream=1, time=3))
    got = normals(seeds, 8, 5, stream=1, time=3)
    for b, q, pair, dim in itertools.product(range(2), range(2), range(2), range(5)):
        first = 4 * q + 2 * pair
        radius = math.sqrt(-2 * math.log(u[b, first, dim].item()))
        angle = 2 * math.pi * u[b, first + 1, dim].item()
        for offset, value in enumerate((radius * math.cos(angle), radius * math.sin(angle))):
            assert got[b, first + offset, dim].item() == pytest.approx(value, rel=1e-7, abs=1e-9)


def test_normals_do_not_depend_on_how_many_are_asked_for() -> None:
    seeds = row_seeds(3, 3)
    many = normals(seeds, 37, 9, stream=0, iteration=2)
    for candidates, dims in ((1, 1), (2, 9), (3, 4), (5, 9), (37, 2)):
        few = normals(seeds[1:2], candidates, dims, stream=0, iteration=2)
        assert torch.equal(few[0], many[1, :candidates, :dims])


def draw(**where: int) -> Tensor:
    """20,000 normals as [candidates, dims] at one place of the counter."""
    seed = where.pop("seed", 0)
    place = {"stream": 0, "time": 0, "iteration": 0, "particle": 0} | where
    return normals(row_seeds(seed, 1), 1000, 20, **place)[0].double()


def test_normals_have_normal_moments() -> None:
    x = draw(seed=17).flatten()
    unit = 1 / math.sqrt(len(x))
    # Standard errors of the first four moments of a standard normal; 4.5 of them.
    for power, moment, spread in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        assert abs((x**power).mean().item() - moment) < 4.5 * math.sqrt(spread) * unit
    assert x.abs().max() < 6


def kolmogorov_smirnov(probabilities: Tensor) -> float:
    """Largest distance to the uniform distribution, times sqrt(n): below 1.95 with p = 0.999."""
    x = probabilities.flatten().sort().values
    n = len(x)
    steps = torch.arange(n, dtype=torch.float64)
    above, below = (steps + 1) / n - x, x - steps / n
    return torch.maximum(above, below).max().item() * math.sqrt(n)


@pytest.mark.parametrize("stream", STREAMS)
def test_uniforms_are_uniform_and_normals_normal(stream: int) -> None:
    seeds = row_seeds(stream, 4)
    assert kolmogorov_smirnov(uniforms(words(seeds, 1000, 10, stream=stream))) < 1.95
    normal = normals(seeds, 1000, 10, stream=stream).double()
    assert kolmogorov_smirnov(torch.special.ndtr(normal)) < 1.95


def correlation(x: Tensor, y: Tensor) -> float:
    """Sample correlation times sqrt(n): a standard normal where x and y are independent."""
    x, y = x.flatten(), y.flatten()
    product = ((x - x.mean()) * (y - y.mean())).mean() / (x.std() * y.std())
    return product.item() * math.sqrt(len(x))


@pytest.mark.parametrize(
    "other",
    [
        {"stream": 1}, {"stream": 4}, {"time": 1}, {"time": 12}, {"iteration": 1},
        {"particle": 1}, {"seed": 1}, {"seed": 2**32}, {"iteration": 65535, "time": 65535},
    ],
    ids=str,
)  # fmt: skip
def test_different_places_of_the_counter_are_uncorrelated(other: dict[str, int]) -> None:
    x, y = draw(), draw(**other)
    for power in (1, 2):  # squares: the radius shared by a cosine and a sine must not show either
        assert abs(correlation(x**power, y**power)) < 4.5


def test_candidates_and_dimensions_are_uncorrelated() -> None:
    x = draw(seed=23)
    for shift in range(1, 6):
        for power in (1, 2):
            y = x**power
            assert abs(correlation(y[:-shift], y[shift:])) < 4.5
            assert abs(correlation(y[:, :-shift], y[:, shift:])) < 4.5


def test_rows_of_a_batch_are_uncorrelated() -> None:
    x = normals(row_seeds(0, 3), 1000, 20, stream=0).double()
    assert abs(correlation(x[0], x[1])) < 4.5
    assert abs(correlation(x[1], x[2])) < 4.5


def test_each_problem_may_have_a_time_of_its_own() -> None:
    seeds, times = torch.tensor([5, 5, -7]), torch.tensor([0, 65535, 3])
    together = normals(seeds, 6, 5, stream=2, time=times, iteration=9)
    for row in range(3):
        time = int(times[row])
        alone = normals(seeds[row : row + 1], 6, 5, stream=2, time=time, iteration=9)
        assert torch.equal(together[row : row + 1], alone)


def test_a_horizon_has_the_normals_of_each_time() -> None:
    which = {"stream": STREAM_STATE, "iteration": 3, "particle": 2}
    seeds = torch.tensor([5, -7])
    drawn = horizon_normals(seeds, 4, 6, 3, **which)
    each = [normals(seeds, 6, 3, time=t, **which) for t in range(4)]
    assert drawn.dtype == torch.float32 and torch.equal(drawn, torch.stack(each))


def test_blocks_never_repeat_across_streams_times_iterations_and_particles() -> None:
    seeds = torch.tensor([77])
    blocks: set[tuple[int, ...]] = set()
    count = 0
    places = itertools.product(STREAMS, (0, 1, 65535), (0, 1, 65535), (0, 1, 2**32 - 1))
    for stream, time, iteration, particle in places:
        at = {"stream": stream, "time": time, "iteration": iteration, "particle": particle}
        word = words(seeds, 8, 512, **at)[0].reshape(2, 4, 512).movedim(1, 2).reshape(-1, 4)
        blocks.update(map(tuple, word[::13].tolist()))
        count += len(word[::13])
    assert len(blocks) == count


# ---- Dither --------------------------------------------------------------------------------------


def test_dither_has_the_counter_layout_of_the_contract() -> None:
    """Sixteen values of a block, in the order of its bits."""
    seeds = torch.tensor([0x0123456789ABCDEF, -5])
    got = dither(seeds, 3, 37) * 256 - 0.5
    for time, row, q in itertools.product(range(3), range(2), range(3)):
        key = tuple(torch.tensor(seeds[row].item() >> shift & 0xFFFFFFFF) for shift in (0, 32))
        counter = (q, STREAM_DITHER << 16, time, 0)
        c0, c1, c2, c3 = (torch.tensor(word) for word in counter)
        block = philox((c0, c1, c2, c3), (key[0], key[1])).tolist()
        expected = list(b"".join(word.to_bytes(4, "little") for word in block))
        assert got[time, row, 16 * q : 16 * q + 16].tolist() == expected[: 37 - 16 * q]


def test_dither_is_uniform() -> None:
    """Counts of the 256 levels: chi-squared, 255 degrees of freedom, stddev 22.6; five of them."""
    u = dither(row_seeds(2, 16), 8, 3072).double()
    assert u.min() == 0.5 / 256
    assert u.max() == 255.5 / 256
    expected = u.numel() / 256
    counts = torch.bincount((u * 256).long().flatten(), minlength=256)
    assert abs(((counts - expected) ** 2 / expected).sum() - 255) < 5 * math.sqrt(2 * 255)
    stddev = math.sqrt((1 - 2**-16) / 12)
    assert abs(u.mean() - 0.5) < 4.5 * stddev / math.sqrt(u.numel())
    assert abs(u.std() - stddev) < 4.5 * stddev / math.sqrt(u.numel())


def test_dither_is_uncorrelated_within_images_and_between_them() -> None:
    u = dither(row_seeds(3, 8), 6, 3072).double()
    for shift in (1, 2, 3, 4, 8, 16, 96):  # bytes, channels, words, blocks, image rows
        assert abs(correlation(u[..., :-shift], u[..., shift:])) < 4.5
    assert abs(correlation(u[:-1], u[1:])) < 4.5
    assert abs(correlation(u[:, :-1], u[:, 1:])) < 4.5
    assert not torch.equal(u, dither(row_seeds(4, 8), 6, 3072).double())


def test_dither_does_not_depend_on_how_much_is_asked_for() -> None:
    seeds = row_seeds(6, 3)
    whole = dither(seeds, 5, 70)
    for steps, row, values in ((1, 0, 1), (5, 2, 16), (3, 1, 33)):
        assert torch.equal(
            dither(seeds[row : row + 1], steps, values)[:, 0], whole[:steps, row, :values]
        )


def test_noise_resolves_an_int_by_row_seeds_and_a_tensor_as_it_is() -> None:
    assert torch.equal(Noise(4).seeds(3, "cpu"), row_seeds(4, 3))
    seeds = torch.tensor([5, -6])
    assert torch.equal(Noise(seeds).seeds(2, "cpu"), seeds)
    assert torch.equal(resolve_seeds(seeds[0], 1, "cpu"), seeds[:1])


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        ({"seed": 1.0}, TypeError, "seed: expected an int or an int64 tensor [B], got float"),
        ({"seed": True}, TypeError, "seed: expected an int or an int64 tensor [B], got bool"),
        ({"seed": 2**64}, ValueError,
         "seed: expected a value in [-2**63, 2**64), got 18446744073709551616"),
        ({"seed": torch.zeros(2)}, TypeError,
         "seed: expected an int64 tensor [B], got torch.float32"),
        ({"seed": torch.zeros(2, 2, dtype=torch.int64)}, ValueError,
         "seed: expected an int64 tensor [B], got shape [2, 2]"),
        ({"seed": 0, "iteration": 65536}, ValueError,
         "iteration: expected a value in [0, 2**16), got 65536"),
        ({"seed": 0, "iteration": -1}, ValueError,
         "iteration: expected a value in [0, 2**16), got -1"),
        ({"seed": 0, "iteration": 1.0}, TypeError, "iteration: expected an int, got float"),
        ({"seed": 0, "particle": 2**32}, ValueError,
         "particle: expected a value in [0, 2**32), got 4294967296"),
    ],
)  # fmt: skip
def test_noise_refuses_with_argument_expected_and_received(
    arguments: dict[str, object], kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind) as error:
        Noise(**arguments)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: mix_seed("0", 0), TypeError, "seed: expected an int, got str"),
        (lambda: mix_seed(0, -1), ValueError, "word: expected a value in [0, 2**64), got -1"),
        (lambda: mix_seed(0, 0.0), TypeError, "word: expected an int, got float"),
        (lambda: row_seeds(-(2**63) - 1, 1), ValueError,
         "seed: expected a value in [-2**63, 2**64), got -9223372036854775809"),
        (lambda: row_seeds(0, -1), ValueError, "rows: expected a value in [0, 2**31), got -1"),
        (lambda: row_seeds(0, 2.0), TypeError, "rows: expected an int, got float"),
        (lambda: resolve_seeds(torch.zeros(3, dtype=torch.int64), 2, "cpu"), ValueError,
         "seed: expected an int64 tensor [B=2], got shape [3]"),
        (lambda: resolve_seeds(torch.zeros(2, dtype=torch.int32), 2, "cpu"), TypeError,
         "seed: expected an int64 tensor [B=2], got torch.int32"),
        (lambda: resolve_seeds(torch.zeros(2, dtype=torch.int64), 2, "meta"), ValueError,
         "seed: expected device meta, got cpu"),
        (lambda: resolve_seeds(None, 2, "cpu"), TypeError,
         "seed: expected an int or an int64 tensor [B=2], got NoneType"),
    ],
)  # fmt: skip
def test_seeds_are_refused_with_argument_expected_and_received(
    call: object, kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind) as error:
        call()
    assert str(error.value) == message
