"""Kernels compiled per instruction set lend nothing to the rest of the program.

A function template compiled for AVX-512 and emitted as a weak symbol may be the copy that the
linker keeps for everybody; an older processor then stops at an illegal instruction. So the objects
are read: kernels export one symbol, and each object holds only instructions of its own set.
"""

from __future__ import annotations

import platform
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from processes import run

ROOT = Path(__file__).parents[2]
COMPILER = shutil.which("c++") or shutil.which("g++")
KERNELS = ("baseline", "avx2", "avx512", "avx512vnni", "avx512bf16", "amx")

pytestmark = [
    pytest.mark.skipif(COMPILER is None, reason="no C++ compiler"),
    pytest.mark.skipif(
        shutil.which("nm") is None or shutil.which("objdump") is None, reason="no binutils"
    ),
    pytest.mark.skipif(platform.machine() != "x86_64", reason="instruction sets of x86-64"),
    pytest.mark.skipif(not (ROOT / "csrc").is_dir(), reason="no source tree"),
]

# Beyond SSE2, which is all that x86-64 promises. objdump writes `tzcnt` for the `rep bsf` that runs
# everywhere, so that one is not listed.
BEYOND_SSE2 = re.compile(
    r"v\w+|popcnt|lzcnt|movbe|crc32\w*|andn|bextr|bls\w+|bzhi|mulx|pdep|pext|rorx|sarx|shlx|shrx"
    r"|addsub\w+|h(add|sub)p\w|lddqu|mov(d|sh|sl)dup|pabs\w|palignr|ph(add|sub)\w+|pmaddubsw"
    r"|pmulhrsw|pshufb|psign\w|p?blend\w+|dpp[ds]|extractps|insertps|mpsadbw|packusdw|pcmp(eq|gt)q"
    r"|pcmp[ei]str\w|p(extr|insr)[bdq]|phminposuw|p(max|min)(sb|sd|uw|ud)|pmov[sz]x\w+|pmul(dq|ld)"
    r"|ptest|round[ps][ds]|movntdqa"
)
MASK_OR_WIDE = re.compile(r"%k[0-7]|%zmm|%[xy]mm(1[6-9]|2\d|3[01])")  # what AVX-512 brought
VNNI = re.compile(r"vpdp(busd|wssd)s?")
BF16 = re.compile(r"vdpbf16ps|vcvtne2?ps2bf16\w?")
TILES = re.compile(r"(ld|st)tilecfg|tile\w+|tdp\w+|tcmm\w+")

# Which instructions an object of each set must not hold.
FORBIDDEN = {
    "baseline": lambda mnemonic, operands: holds(mnemonic, BEYOND_SSE2, TILES),
    "avx2": lambda mnemonic, operands: (
        bool(MASK_OR_WIDE.search(operands)) or holds(mnemonic, VNNI, BF16, TILES)
    ),
    "avx512": lambda mnemonic, operands: holds(mnemonic, VNNI, BF16, TILES),
    "avx512vnni": lambda mnemonic, operands: holds(mnemonic, BF16, TILES),
    "avx512bf16": lambda mnemonic, operands: holds(mnemonic, TILES),
    "amx": lambda mnemonic, operands: False,
}


def holds(mnemonic: str, *patterns: re.Pattern[str]) -> bool:
    return any(pattern.fullmatch(mnemonic) for pattern in patterns)


def output(*command: object) -> str:
    return run(*command).stdout


def instructions(path: Path) -> Iterator[tuple[str, str]]:
    """Mnemonic and operands of everything in an object."""
    for line in output("objdump", "-d", "--no-show-raw-insn", path).splitlines():
        parts = line.split("\t")
        if len(parts) >= 2 and parts[1].strip():
            mnemonic, _, operands = parts[1].replace("{vex} ", "").strip().partition(" ")
            yield mnemonic, operands.split("#")[0]


def foreign_instructions(path: Path, isa: str) -> set[str]:
    """Instructions in an object that a processor of this set may lack."""
    return {f"{m} {o}".strip() for m, o in instructions(path) if FORBIDDEN[isa](m, o)}


def exported(path: Path) -> list[str]:
    """Symbols that the linker sees: kind (`W`, `V` and `u` may be shared) and name."""
    lines = output("nm", "--defined-only", "--extern-only", "--demangle", path).splitlines()
    return [line.split(maxsplit=1)[1] for line in lines if len(line.split()) > 2]


def compile_text(folder: Path, text: str, *flags: str) -> Path:
    (folder / "wrong.cpp").write_text(text)
    output(COMPILER, "-std=c++20", *flags, "-c", folder / "wrong.cpp", "-o", folder / "wrong.o")
    return folder / "wrong.o"


def test_objects_keep_to_their_set_and_kernels_export_one_symbol(built_core: Path) -> None:
    objects = {path.name.split(".")[0]: path for path in built_core.rglob("*.cpp.o")}
    for name in KERNELS:
        path = objects.pop(f"kernels_{name}")
        assert exported(path) == [f"D planet::cpu::kernels_{name}"]
        assert foreign_instructions(path, name) == set(), path.name
        assert sum(1 for _ in instructions(path)) > 1000  # the disassembly was understood
    assert {"cem", "dispatch", "pack", "rollout", "refit", "thread_pool"} <= set(objects)
    for path in objects.values():
        assert foreign_instructions(path, "baseline") == set(), path.name


@pytest.mark.parametrize("name", KERNELS)
def test_kernels_export_one_symbol_without_inlining(tmp_path: Path, name: str) -> None:
    text = (ROOT / "CMakeLists.txt").read_text()
    match = re.search(rf"kernels_{name}\.cpp PROPERTIES\s+COMPILE_OPTIONS \"([^\"]*)\"", text)
    assert (match is None) == (name == "baseline")
    flags = match[1].split(";") if match else []
    source, out = ROOT / "csrc" / "cpu" / f"kernels_{name}.cpp", tmp_path / "kernels.o"
    output(COMPILER, "-std=c++20", "-O0", "-fPIC", *flags, "-c", source, "-o", out)
    assert exported(out) == [f"D planet::cpu::kernels_{name}"]


def test_only_kernels_are_compiled_for_an_instruction_set() -> None:
    for path in (ROOT / "CMakeLists.txt", ROOT / "bindings" / "CMakeLists.txt"):
        for statement in re.split(r"\n(?=\S)", path.read_text()):
            if re.search(r"[\";\s]-m(?!no-)[a-z]", statement):
                assert "csrc/cpu/kernels_" in statement, statement


def test_kernels_include_nothing_of_the_standard_library() -> None:
    allowed = {"stdint.h", "immintrin.h", "arm_neon.h"}
    for path in [*(ROOT / "csrc" / "cpu").glob("*.inc"), ROOT / "csrc" / "cpu" / "panel.h"]:
        system = re.findall(r"#include <([^>]+)>", path.read_text())
        assert set(system) <= allowed, path.name


def test_the_core_knows_neither_torch_nor_python() -> None:
    for path in (ROOT / "csrc").rglob("*.*"):
        includes = re.findall(r"#include [<\"]([^>\"]+)[>\"]", path.read_text())
        assert not [name for name in includes if re.match(r"(torch|ATen|c10|Python)", name)]


# ---- that the checks above can fail ----

LOOP = (
    "float sum(const float* x) { float s = 0; for (int i = 0; i < 64; ++i) s += x[i]; return s; }"
)


@pytest.mark.parametrize(
    ("isa", "flags"),
    [
        ("baseline", ["-mavx"]),
        ("baseline", ["-mavx2", "-mfma"]),
        ("baseline", ["-msse4.1"]),
        ("avx2", ["-mavx512f", "-mprefer-vector-width=512"]),
        ("avx2", ["-mavx512vl"]),
    ],
)
def test_a_wrong_flag_is_seen_in_the_instructions(
    tmp_path: Path, isa: str, flags: list[str]
) -> None:
    text = LOOP + "int round_up(float x) { return (int)__builtin_ceilf(x); }"
    text += "void add(int* a, const int* m) { for (int i = 0; i < 64; ++i) if (m[i]) a[i] += 3; }"
    fast = ["-O3", "-ffast-math"]
    assert not foreign_instructions(compile_text(tmp_path, text, *fast), "baseline")
    assert foreign_instructions(compile_text(tmp_path, text, *fast, *flags), isa)


@pytest.mark.parametrize(
    ("isa", "instruction"),
    [
        ("avx2", "{vex} vpdpbusd %ymm1, %ymm2, %ymm3"),
        ("avx512", "vpdpbusd %zmm1, %zmm2, %zmm3"),
        ("avx512", "vdpbf16ps %zmm1, %zmm2, %zmm3"),
        ("avx512vnni", "vdpbf16ps %zmm1, %zmm2, %zmm3"),
        ("avx512vnni", "vcvtneps2bf16 %zmm1, %ymm2"),
        ("avx512vnni", "vcvtneps2bf16x (%rax), %xmm2"),
        ("avx512vnni", "vcvtne2ps2bf16 %zmm1, %zmm2, %zmm3"),
        *[
            (isa, instruction)
            for isa in ("baseline", "avx2", "avx512", "avx512vnni", "avx512bf16")
            for instruction in (
                "ldtilecfg (%rax)",
                "sttilecfg (%rax)",
                "tilerelease",
                "tilezero %tmm1",
                "tileloadd (%rax,%rbx), %tmm1",
                "tileloaddt1 (%rax,%rbx), %tmm1",
                "tilestored %tmm1, (%rax,%rbx)",
                "tdpbf16ps %tmm1, %tmm2, %tmm3",
                "tdpbusd %tmm1, %tmm2, %tmm3",
            )
        ],
    ],
)
def test_an_instruction_outside_its_set_is_seen(tmp_path: Path, isa: str, instruction: str) -> None:
    text = f'void f() {{ asm volatile("{instruction}"); }}'
    assert foreign_instructions(compile_text(tmp_path, text), isa)
    assert not foreign_instructions(tmp_path / "wrong.o", "amx")


def test_a_shared_template_is_seen_in_the_symbols(tmp_path: Path) -> None:
    text = "template <class T> T twice(T x) { return x + x; } int f(int x) { return twice(x); }"
    assert [line[0] for line in exported(compile_text(tmp_path, text, "-O0"))] == ["T", "W"]
