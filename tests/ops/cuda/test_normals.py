"""Compares counter-based random numbers on the device with `planet.noise`."""

from __future__ import annotations

import pytest
import torch
from ops.cuda.support import Device
from ops.tolerances import NORMAL_ABSOLUTE, NORMAL_RELATIVE, close

from planet import noise
from planet.ops import fused

# candidates, dims, stream, time, iteration, particle
PLACES = [
    (1, 1, 0, 0, 0, 0), (3, 5, 1, 11, 9, 0), (4, 17, 2, 65535, 65535, 2**32 - 1),
    (33, 30, 3, 1, 0, 7), (1, 12288, 4, 0, 0, 0), (1001, 6, 0, 5, 3, 1), (2, 65536, 1, 0, 1, 0),
]  # fmt: skip
SEEDS = torch.tensor([0, -1, 2**62 + 12345, -(2**63)])


def table(name: str, device: Device, place: tuple[int, ...], seeds: torch.Tensor) -> torch.Tensor:
    isa = (None,) if name == "normals" else ()
    found = fused._KERNELS[device.place].call(name, device.to(seeds), *place, *isa)
    return found.cpu()


def expected(place: tuple[int, ...], seeds: torch.Tensor) -> dict[str, torch.Tensor]:
    names = ("stream", "time", "iteration", "particle")
    where = dict(zip(names, place[2:], strict=True))
    words = noise.words(seeds, *place[:2], **where)
    return {"uniforms": noise.uniforms(words), "normals": noise.normals(seeds, *place[:2], **where)}


@pytest.mark.parametrize("place", PLACES, ids=str)
def test_tables_are_those_of_the_specification(
    device: Device, place: tuple[int, ...], seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    fresh = torch.randint(-(2**63), 2**63 - 1, (1,), generator=generator)
    seeds = SEEDS if place[0] * place[1] < 10_000 else fresh
    known = expected(place, seeds)
    got = table("uniforms", device, place, seeds)
    assert got.dtype == torch.float64
    assert got.equal(known["uniforms"])
    normals = table("normals", device, place, seeds)
    assert normals.dtype == torch.float32
    assert close(normals, known["normals"], NORMAL_ABSOLUTE, NORMAL_RELATIVE)


def test_uniforms_of_the_cpu_are_the_same() -> None:
    if fused._C is None:
        pytest.skip("the compiled core is not built")
    place = (7, 600, 4, 2, 1, 5)
    got = torch.ops.planet.uniforms(SEEDS, *place)
    assert got.equal(expected(place, SEEDS)["uniforms"])
