"""The build and the machine, as bug reports name them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

import planet
from planet.diagnostics.build import build_info

TOO_OLD, NO_AMX = "the processor has no AVX-512", "the processor has no AMX"


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Stands for the extension's own facts on a processor without AMX; the test changes them."""
    facts: dict[str, Any] = {
        "isa": "avx512bf16",
        "isas": ["baseline", "avx2", "avx512", "avx512vnni", "avx512bf16"],
        "precisions": {"fp32": "avx512", "int8": "avx512vnni", "bf16": "avx512bf16"},
        "kernels": {"int8": ["avx512vnni"], "bf16": ["avx512bf16", "amx"]},
        "refused": {"amx": NO_AMX},
    }
    monkeypatch.setattr("planet.ops.fused._C", SimpleNamespace(build_info=lambda: dict(facts)))
    monkeypatch.setattr("planet.diagnostics.build.extension", SimpleNamespace(path=str))
    monkeypatch.delenv("PLANET_CPU_ISA", raising=False)
    return facts


def test_build_info_is_a_function_of_planet(built: dict[str, Any]) -> None:
    assert planet.build_info is build_info
    assert planet.build_info()["threads"] == torch.get_num_threads()


def test_each_precision_has_its_instruction_set(built: dict[str, Any]) -> None:
    info = build_info()
    assert (info["fp32"], info["int8"], info["bf16"]) == ("avx512", "avx512vnni", "avx512bf16")
    assert info["isa_cap"] is None and info["refused"] == {"amx": NO_AMX}
    assert not [name for name in info if name.endswith("_reason")]


@pytest.mark.parametrize(
    ("facts", "cap", "int8", "bf16"),
    [
        (
            {"isa": "avx2", "refused": dict.fromkeys(["avx512vnni", "avx512bf16", "amx"], TOO_OLD)},
            None,
            f"needs the instruction set 'avx512vnni', got 'avx2' (avx512vnni: {TOO_OLD})",
            "needs the instruction set 'avx512bf16' or 'amx', got 'avx2' "
            f"(avx512bf16, amx: {TOO_OLD})",
        ),
        (
            {"isa": "avx512"},
            "avx512",
            "needs the instruction set 'avx512vnni', got 'avx512' (avx512vnni: this processor runs "
            "it, choose it by PLANET_CPU_ISA, which is avx512)",
            f"needs the instruction set 'avx512bf16' or 'amx', got 'avx512' (amx: {NO_AMX}; "
            "avx512bf16: this processor runs it, choose it by PLANET_CPU_ISA, which is avx512)",
        ),
        (
            {"isa": "avx2", "kernels": {"int8": ["avx512vnni"], "bf16": ["amx"]}},
            None,
            "needs the instruction set 'avx512vnni', got 'avx2' (avx512vnni: this processor runs "
            "it, choose it by PLANET_CPU_ISA)",
            f"needs the instruction set 'amx', got 'avx2' (amx: {NO_AMX})",
        ),
        (
            {"isa": "neon", "kernels": {"int8": [], "bf16": []}, "refused": {}},
            None,
            "has no kernels for this architecture, got 'neon'",
            "has no kernels for this architecture, got 'neon'",
        ),
    ],
)  # fmt: skip
def test_the_reason_is_given_where_a_precision_is_not_available(
    facts: dict[str, Any], cap: str | None, int8: str, bf16: str,
    built: dict[str, Any], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    built.update(facts, precisions={"fp32": facts["isa"]})
    if cap:
        monkeypatch.setenv("PLANET_CPU_ISA", cap)
    info = build_info()
    assert (info["fp32"], info["int8"], info["bf16"]) == (facts["isa"], None, None)
    assert (info["int8_reason"], info["bf16_reason"]) == (int8, bf16)
    assert info["isa_cap"] == cap
