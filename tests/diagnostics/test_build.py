"""The build and the machine, as bug reports name them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

import planet
from planet.diagnostics.build import build_info

X86 = ["baseline", "avx2", "avx512", "avx512vnni"]


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Stands for the extension's own facts; the test changes them."""
    facts: dict[str, Any] = {"isa": "avx512vnni", "isas": X86, "int8": True}
    monkeypatch.setattr("planet.ops.fused._C", SimpleNamespace(build_info=lambda: dict(facts)))
    monkeypatch.setattr("planet.diagnostics.build.extension", SimpleNamespace(path=str))
    monkeypatch.delenv("PLANET_CPU_ISA", raising=False)
    return facts


def test_build_info_is_a_function_of_planet(built: dict[str, Any]) -> None:
    assert planet.build_info is build_info
    assert planet.build_info()["threads"] == torch.get_num_threads()


def test_each_precision_has_its_instruction_set(built: dict[str, Any]) -> None:
    info = build_info()
    assert (info["fp32"], info["int8"], info["isa_cap"]) == ("avx512", "avx512vnni", None)
    assert "int8_reason" not in info


@pytest.mark.parametrize(
    ("isa", "isas", "cap", "reason"),
    [
        ("avx2", X86[:2], None,
         "needs instruction set avx512vnni, this processor runs baseline, avx2"),
        ("avx512", X86, "avx512",
         "needs instruction set avx512vnni, which this processor runs, but PLANET_CPU_ISA=avx512"),
        ("avx2", X86, None,
         "needs instruction set avx512vnni, which this processor runs, but avx2 was set"),
        ("neon", ["neon"], None, "needs instruction set avx512vnni, this processor runs neon"),
    ],
)  # fmt: skip
def test_the_reason_is_given_where_int8_is_not_available(
    isa: str, isas: list[str], cap: str | None, reason: str,
    built: dict[str, Any], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    built.update(isa=isa, isas=isas, int8=False)
    if cap:
        monkeypatch.setenv("PLANET_CPU_ISA", cap)
    info = build_info()
    assert (info["fp32"], info["int8"], info["int8_reason"]) == (isa, None, reason)
    assert info["isa_cap"] == cap
