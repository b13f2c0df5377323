"""Tests the C++ side of the counter-based random numbers."""

from __future__ import annotations

import pytest
import torch
from ops.fused_support import ISAS, isa_number, needs_extension
from ops.tolerances import NORMAL_ABSOLUTE, NORMAL_RELATIVE, close

from planet.noise import normals, philox, row_seeds, uniforms
from planet.ops import fused

pytestmark = needs_extension


def test_words_and_uniforms_equal_python_bit_for_bit() -> None:
    generator = torch.Generator().manual_seed(0)
    values = torch.randint(0, 1 << 32, (200, 6), generator=generator)
    columns = [column.contiguous() for column in values.t()]
    words = philox((columns[0], columns[1], columns[2], columns[3]), (columns[4], columns[5]))
    for row, expected in zip(values.tolist(), words.tolist(), strict=True):
        assert fused._C.philox4x32(row[:4], row[4:]) == expected
    uniform = uniforms(words.reshape(-1)).tolist()
    assert [fused._C.uniform(word) for word in words.reshape(-1).tolist()] == uniform


@pytest.mark.parametrize("name", ISAS)
@pytest.mark.parametrize("candidates", [1, 5, 16, 1003])
def test_normals_equal_python_within_the_contract(name: str, candidates: int) -> None:
    seeds = torch.cat([row_seeds(5, 3), torch.tensor([-1, 0, 2**63 - 1, -(2**63)])])
    where = {"stream": 1, "time": 65535, "iteration": 65535, "particle": 2**32 - 1}
    got = torch.ops.planet.normals(seeds, candidates, 31, *where.values(), isa_number(name))
    expected = normals(seeds, candidates, 31, **where)
    assert close(got, expected, NORMAL_ABSOLUTE, NORMAL_RELATIVE)


@pytest.mark.parametrize("name", ISAS)
def test_many_normals_stay_within_the_contract(name: str) -> None:
    got = torch.ops.planet.normals(row_seeds(1, 1), 20_000, 100, 0, 0, 0, 0, isa_number(name))
    expected = normals(row_seeds(1, 1), 20_000, 100, stream=0)
    assert close(got, expected, NORMAL_ABSOLUTE, NORMAL_RELATIVE)
    assert abs(got.mean()) < 3e-3
    assert abs(got.std() - 1) < 3e-3
    assert got.abs().max() < 5.9  # sqrt(2 * 25 ln 2)


def test_particles_iterations_and_streams_are_different_numbers() -> None:
    seeds = row_seeds(0, 1)
    base = torch.ops.planet.normals(seeds, 64, 8, 0, 0, 0, 0, 0)
    for where in ((1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1)):
        other = torch.ops.planet.normals(seeds, 64, 8, *where, 0)
        assert not (other == base).any()
