"""Reads what the machine can do at most, measured by `ceilings.cpp` in the planners' run."""

from __future__ import annotations

import functools
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

KERNELS = {
    "fp32": ("fma_avx2", "fma_avx512", "fma_neon"),
    "int8": ("int8_avx512vnni",),
    "bf16": ("bf16_avx512bf16", "bf16_amx"),
}
"""Multiply-adds by the precision of their operands."""

AMX = ("-mamx-tile", "-mamx-bf16")  # for one file alone
MEMORIES = {"weights": 1542 << 10, "memory": 256 << 20}
"""Bytes that each thread reads; "weights" are those of the paper's model in float32."""


@functools.cache
def program() -> str | None:
    """The compiled program, in a folder that lives as long as this process; None: no compiler."""
    compiler = shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        return None
    folder = tempfile.TemporaryDirectory(prefix="ceilings")
    program.folder = folder  # type: ignore[attr-defined]
    out = str(Path(folder.name) / "ceilings")
    command, sources = [compiler, "-O2", "-std=c++17"], Path(__file__).parent
    tiles = f"{out}_amx.o"
    for flags in (AMX, ()):  # a compiler that does not know them builds the rest
        compile_tiles = [*command, *flags, "-c", str(sources / "ceilings_amx.cpp"), "-o", tiles]
        if not subprocess.run(compile_tiles, stderr=subprocess.DEVNULL).returncode:
            break
    source = str(sources / "ceilings.cpp")
    subprocess.run([*command, "-pthread", source, tiles, "-o", out], check=True)
    return out


def rate(kernel: str, threads: int, seconds: float, size: int = 0) -> float | None:
    """10^9 operations, or bytes, per second of all threads; None if the processor cannot."""
    path = program()
    if path is None:
        return None
    command = [path, kernel, str(threads), str(seconds), str(size)]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    return None if out == "unsupported" else float(out)


def ceilings(threads: int, seconds: float = 0.5) -> dict[str, Any]:
    """Rates of registers and memory; missing instructions are left out.

    Returns:
      giga_operations_per_second: by kernel; a multiply-add is two operations.
      gigabytes_per_second: read, by the size of what is read over and over.
    """
    if program() is None:
        return {"missing": "no C++ compiler"}
    names = [name for kernels in KERNELS.values() for name in kernels]
    operations = {name: rate(name, threads, seconds) for name in names}
    return {
        "giga_operations_per_second": {k: v for k, v in operations.items() if v is not None},
        "gigabytes_per_second": {
            name: rate("read", threads, seconds, size) for name, size in MEMORIES.items()
        },
    }


def peak(measured: dict[str, Any], precision: str) -> float | None:
    """The fastest of a precision's kernels in what `ceilings` returned, 10^9 operations/s."""
    operations = measured.get("giga_operations_per_second", {})
    return max(
        (operations[name] for name in KERNELS[precision] if name in operations), default=None
    )
