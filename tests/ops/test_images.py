"""The op `images` against its reference: preprocess with the dither of `planet.noise`."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from ops.fused_support import ISAS, isa_number, needs_extension, threads
from torch import Tensor

from planet import noise
from planet.noise import row_seeds
from planet.ops import fused
from planet.ops.pixels import images, preprocess

pytestmark = needs_extension

# T, B, h, w: values of an image from 3 on, around multiples of a word (4), of a block (16), and of
# what the instruction sets draw at once (64, 128, 256).
SIZES = [
    (1, 1, 1, 1), (2, 3, 1, 5), (3, 2, 1, 16), (2, 2, 3, 7), (1, 2, 8, 8), (2, 1, 1, 21),
    (1, 2, 1, 43), (2, 2, 5, 17), (1, 1, 2, 43), (20, 3, 16, 16), (3, 1, 31, 33),
]  # fmt: skip


def arguments(size: tuple[int, ...], seed: int = 0) -> tuple[Tensor, Tensor]:
    """Observation and seeds, the first seed of all bits."""
    generator = torch.Generator().manual_seed(seed)
    observation = torch.randint(0, 256, (*size, 3), generator=generator, dtype=torch.uint8)
    seeds = torch.randint(-(2**63), 2**63 - 1, (size[1],), generator=generator)
    seeds[0] = -1
    return observation, seeds


def reference(observation: Tensor, seeds: Tensor, depth: int) -> Tensor:
    """[T, B, h, w, 3], by PyTorch alone."""
    steps, _, *shape = observation.shape
    dither = noise.dither(seeds, steps, shape[0] * shape[1] * 3).reshape(observation.shape)
    return preprocess(observation, depth, dither).movedim(-3, -1)


@pytest.mark.parametrize("name", ISAS)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_images_equal_the_reference_bit_for_bit(size: tuple[int, ...], name: str) -> None:
    for depth in range(1, 9):
        given = arguments(size, depth)
        got = torch.ops.planet.images(*given, depth, isa_number(name))
        assert got.equal(reference(*given, depth))


def test_every_pixel_meets_every_byte_of_dither() -> None:
    observation = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 256, 1, 1)
    observation = observation.expand(1, 1, 256, 512, 3).contiguous()
    seeds = row_seeds(0, 1)
    u = noise.dither(seeds, 1, observation.numel()).reshape(256, -1)
    pairs = (u * 256).long() + 256 * torch.arange(256)[:, None]
    assert pairs.unique().numel() > 0.99 * 256 * 256
    for depth in (1, 5, 8):
        got = torch.ops.planet.images(observation, seeds, depth, fused._C.isa())
        assert got.equal(reference(observation, seeds, depth))


@pytest.mark.parametrize("count", [2, 3, 16])
def test_images_do_not_depend_on_the_number_of_threads(count: int) -> None:
    given = arguments((7, 5, 9, 11))
    expected = images(*given, 5)
    with threads(count):
        assert images(*given, 5).equal(expected)


def test_the_front_takes_any_strides() -> None:
    observation, seeds = arguments((3, 4, 6, 5))
    expected = images(observation, seeds, 5)
    turned = observation.permute(4, 1, 0, 3, 2).contiguous().permute(2, 1, 4, 3, 0)
    assert not turned.is_contiguous()
    every_second = seeds.repeat_interleave(2)[::2]
    assert images(turned, every_second, 5).equal(expected)
    pixels = torch.cat([torch.zeros(1, dtype=torch.uint8), observation.flatten()])
    assert images(pixels[1:].reshape(observation.shape), seeds, 5).equal(expected)


OBSERVATION, SEEDS = arguments((2, 2, 4, 4))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"observation": OBSERVATION.float()}, "observation: expected dtype uint8, got"),
        ({"observation": OBSERVATION[0]}, r"observation: expected sizes >= 1 in \[T, B, h, w, 3\]"),
        ({"observation": OBSERVATION[..., :2]}, r"observation \(channels\): expected a value in"),
        ({"observation": OBSERVATION.transpose(2, 3)}, "observation: expected a contiguous tensor"),
        ({"observation": OBSERVATION[:0]}, "observation: expected sizes >= 1"),
        ({"observation": torch.zeros(65537, 2, 1, 1, 3).byte()},
         r"observation \(T\): expected a value in \[1, 65536\], got 65537"),
        ({"observation": torch.zeros(1, 2, 1, 16385, 3).byte()},
         r"observation \(w\): expected a value in \[1, 16384\], got 16385"),
        ({"seeds": SEEDS.int()}, "seeds: expected dtype int64, got"),
        ({"seeds": SEEDS[:1]}, r"seeds: expected shape \[2\], got \[1\]"),
        ({"bit_depth": 0}, r"bit_depth: expected a value in \[1, 8\], got 0"),
        ({"bit_depth": 9}, r"bit_depth: expected a value in \[1, 8\], got 9"),
        ({"isa": None}, "isa: expected an instruction set for tensors on cpu, got None"),
        ({"isa": 99}, "isa: expected a value in"),
    ],
)  # fmt: skip
def test_the_op_refuses_what_would_read_elsewhere(change: dict[str, Any], message: str) -> None:
    good = {"observation": OBSERVATION, "seeds": SEEDS, "bit_depth": 5, "isa": 0}
    torch.ops.planet.images(**good)
    with pytest.raises(RuntimeError, match=message):
        torch.ops.planet.images(**(good | change))
