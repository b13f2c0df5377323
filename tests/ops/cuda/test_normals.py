"""Compares counter-based normals on the device with `planet.noise`."""

from __future__ import annotations

import pytest
import torch
from ops.cuda.support import Device
from ops.tolerances import NORMAL_ABSOLUTE, NORMAL_RELATIVE, close

from planet import noise
from planet.ops.kernels import KERNELS

# candidates, dims, stream, time, iteration, particle
PLACES = [
    (1, 1, 0, 0, 0, 0), (3, 5, 1, 11, 9, 0), (4, 17, 2, 65535, 65535, 2**32 - 1),
    (33, 30, 3, 1, 0, 7), (1001, 6, 0, 5, 3, 1), (2, 65536, 1, 0, 1, 0),
]  # fmt: skip
SEEDS = torch.tensor([0, -1, 2**62 + 12345, -(2**63)])


@pytest.mark.parametrize("place", PLACES, ids=str)
def test_normals_are_those_of_the_specification(
    device: Device, place: tuple[int, ...], seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    fresh = torch.randint(-(2**63), 2**63 - 1, (1,), generator=generator)
    seeds = SEEDS if place[0] * place[1] < 10_000 else fresh
    kernels = KERNELS[device.place]
    got = kernels.call("normals", device.to(seeds), *place, None).cpu()
    names = ("stream", "time", "iteration", "particle")
    expected = noise.normals(seeds, *place[:2], **dict(zip(names, place[2:], strict=True)))
    assert got.dtype == torch.float32
    assert close(got, expected, NORMAL_ABSOLUTE, NORMAL_RELATIVE)
