"""Compiles first_run.cu; needs neither planet nor torch, as a bundle is made without them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

SOURCE = Path(__file__).with_name("first_run.cu")


def build(folder: Path, architecture: str, strict: bool = True) -> Path:
    """Compiles the program.

    Args:
      folder: for the program.
      architecture: such as "90a".
      strict: whether warnings are errors; those of a host compiler that nobody has tried are not.

    Raises:
      SystemExit: there is no nvcc, or it fails.
    """
    if shutil.which("nvcc") is None:
        raise SystemExit("first_run: no nvcc on PATH; install the CUDA toolkit")
    out = folder / "first_run"
    target = f"-gencode=arch=compute_{architecture},code=sm_{architecture}"
    words = ["nvcc", "-std=c++17", "-O3", target, str(SOURCE), "-o", str(out)]
    words += ["--Werror=all-warnings"] if strict else []
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"first_run: nvcc failed\n{done.stdout}{done.stderr}")
    return out
