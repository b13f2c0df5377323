"""Compares images that CUDA kernels make with their reference, bit for bit."""

from __future__ import annotations

import pytest
from ops.cuda.support import Device
from ops.test_images import SIZES, arguments, reference

from planet.ops.kernels import KERNELS
from planet.ops.pixels import images


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_images_equal_the_reference_bit_for_bit(
    device: Device, size: tuple[int, ...], seed: int
) -> None:
    for depth in (1, 5, 8):
        observation, seeds = arguments(size, seed + depth)
        got = images(device.to(observation), device.to(seeds), depth)
        assert got.movedim(-3, -1).cpu().equal(reference(observation, seeds, depth))


def test_an_instruction_set_is_refused(device: Device) -> None:
    kernels = KERNELS[device.place]
    observation, seeds = map(device.to, arguments((1, 2, 3, 4)))
    with pytest.raises(RuntimeError, match="isa: "):
        kernels.call("images", observation, seeds, 5, 0)
    with pytest.raises(RuntimeError, match=r"bit_depth: expected a value in \[1, 8\], got 9"):
        kernels.call("images", observation, seeds, 9, None)
