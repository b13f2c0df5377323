"""Reads what the machine can do at most, measured by `ceilings.cpp` in the planners' run."""

from __future__ import annotations

import functools
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

KERNELS = ("fma_avx2", "fma_avx512", "int8_avx512vnni", "fma_neon")
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
    source = str(Path(__file__).with_suffix(".cpp"))
    subprocess.run([compiler, "-O2", "-std=c++17", "-pthread", source, "-o", out], check=True)
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
    operations = {name: rate(name, threads, seconds) for name in KERNELS}
    return {
        "giga_operations_per_second": {k: v for k, v in operations.items() if v is not None},
        "gigabytes_per_second": {
            name: rate("read", threads, seconds, size) for name, size in MEMORIES.items()
        },
    }
