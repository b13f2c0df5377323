"""What the kernels compiled per instruction set may lend to the rest of the program: nothing.

A function template compiled for AVX-512 and emitted as a weak symbol may be the copy that the
linker keeps for everybody; an older processor then stops at an illegal instruction.
"""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
COMPILER = shutil.which("c++") or shutil.which("g++")
FLAGS = {
    "baseline": [],
    "avx2": ["-mavx2", "-mfma"],
    "avx512": ["-mavx512f", "-mavx512dq", "-mavx512vl", "-mavx512bw", "-mfma"],
}

pytestmark = [
    pytest.mark.skipif(COMPILER is None or shutil.which("nm") is None, reason="no C++ compiler"),
    pytest.mark.skipif(platform.machine() != "x86_64", reason="instruction sets of x86-64"),
    pytest.mark.skipif(not (ROOT / "csrc").is_dir(), reason="no source tree"),
]


@pytest.mark.parametrize("name", list(FLAGS))
@pytest.mark.parametrize("level", ["-O0", "-O3"])
def test_kernels_export_one_symbol(tmp_path: Path, name: str, level: str) -> None:
    assert COMPILER is not None
    source, out = ROOT / "csrc" / "cpu" / f"kernels_{name}.cpp", tmp_path / "kernels.o"
    command = [COMPILER, "-std=c++20", level, "-fPIC", "-ffp-contract=off", "-c", source, "-o", out]
    subprocess.run([*command, *FLAGS[name]], check=True, timeout=300)
    listing = subprocess.run(
        ["nm", "--defined-only", "--extern-only", "--demangle", out],
        check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    symbols = [line.split(maxsplit=2)[2] for line in listing.splitlines()]
    assert symbols == [f"planet::cpu::kernels_{name}"]


def test_flags_are_those_of_the_build() -> None:
    text = (ROOT / "CMakeLists.txt").read_text()
    for name in ("avx2", "avx512"):
        match = re.search(rf"kernels_{name}\.cpp PROPERTIES\s+COMPILE_OPTIONS \"([^\"]*)\"", text)
        assert match is not None
        assert set(FLAGS[name]) <= set(match[1].split(";"))


def test_kernels_include_nothing_of_the_standard_library() -> None:
    allowed = {"stdint.h", "immintrin.h", "arm_neon.h"}
    for path in [*(ROOT / "csrc" / "cpu").glob("*.inc"), ROOT / "csrc" / "cpu" / "panel.h"]:
        assert set(re.findall(r"#include <([^>]+)>", path.read_text())) <= allowed


def test_the_core_knows_neither_torch_nor_python() -> None:
    for path in (ROOT / "csrc").rglob("*.*"):
        includes = re.findall(r"#include [<\"]([^>\"]+)[>\"]", path.read_text())
        assert not [
            name for name in includes if re.match(r"(torch|ATen|c10|pybind11|Python)", name)
        ]
