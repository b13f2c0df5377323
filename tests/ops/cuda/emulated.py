"""Runs the bindings' CUDA implementations on kernels that run on the CPU.

The kernels' sources compile for the CPU as they are (emulator/); linked with the bindings
they are `torch.ops.planet_emulated`, and `EmulatedKernels` makes `planet.ops.fused` call those for
CPU tensors as it calls `torch.ops.planet` for CUDA tensors. No GPU is needed.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from conftest import FUSED_MISSING, PATH, ROOT, fused_is_built
from processes import run
from torch import Tensor

from planet.ops.kernels import KERNELS, CudaKernels

CMAKE = shutil.which("cmake", path=PATH)
COMPILER = next((c for c in ("c++", "g++", "clang++") if shutil.which(c)), None)

_STREAM = SimpleNamespace(cuda_stream=0, synchronize=lambda: None)


def missing() -> str | None:
    """Names what it takes to build and is not there."""
    if not (ROOT / "csrc" / "cuda").is_dir():
        return "no source tree"
    return "no C++ compiler" if COMPILER is None else "no cmake" if CMAKE is None else None


@cache
def load() -> ctypes.CDLL:
    """Builds what has changed, once per session, registers the ops and returns their library.

    PLANET_EMULATED names a folder to build in; else build/emulated of the source tree.
    """
    folder = Path(os.environ.get("PLANET_EMULATED") or ROOT / "build" / "emulated")
    folder.mkdir(parents=True, exist_ok=True)
    library = folder / "tests" / "ops" / "cuda" / "planet_emulated.so"
    with open(folder / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # one worker builds, the others wait and find it done
        if not os.environ.get("PLANET_EMULATED_KEEP"):
            include = Path(torch.__file__).parent / "include"
            cmake = partial(run, CMAKE, env=os.environ | {"PATH": PATH})
            cmake("-S", ROOT, "-B", folder, "-DPLANET_PYTHON=OFF", "-DPLANET_TESTS=ON",
                  "-DPLANET_EMULATED_OPS=ON", f"-DPLANET_TORCH_INCLUDE={include}")  # fmt: skip
            cmake("--build", folder, "--target", "planet_emulated", "--parallel", "2")
        torch.ops.load_library(str(library))
    return ctypes.CDLL(str(library))


@contextmanager
def exact_functions() -> Iterator[None]:
    """Takes the errors of half precision's special functions away, so that roundings are left."""
    set_error = load().planet_emulated_function_error
    set_error(ctypes.c_double(0.0))
    try:
        yield
    finally:
        set_error(ctypes.c_double(1.0))


class EmulatedKernels(CudaKernels):
    """Stands for `CudaKernels` on CPU tensors: there is no device to check, no stream, no graph."""

    def __init__(self) -> None:
        super().__init__(None)
        load()
        self.ops = torch.ops.planet_emulated
        self._checked = True

    def check_memory(self, mean: Tensor, candidates: int, written: bool = False) -> None:
        """The device is this machine, which tests do not fill."""

    @staticmethod
    def _capturing() -> bool:
        return False

    @staticmethod
    def _current_stream(device: torch.device) -> Any:
        return _STREAM


def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes CPU tensors take the path of CUDA tensors, to its end; skips where that cannot be."""
    if reason := missing():
        pytest.skip(reason)
    if not fused_is_built():
        pytest.skip(FUSED_MISSING)
    monkeypatch.setitem(KERNELS, "cpu", EmulatedKernels())
