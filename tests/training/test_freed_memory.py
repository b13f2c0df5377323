"""Memory that is freed serves again without a page fault."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from planet.training.freed_memory import keep_freed_memory

# glibc itself keeps no block of 48 MiB, and of smaller ones twice the largest that it has freed.
FAULTS = """
import resource, sys
import torch
from planet.training.freed_memory import keep_freed_memory

def allocate():
    blocks = [torch.ones(6 << 20) for _ in range(3)]  # 72 MiB
    block = torch.ones(12 << 20)

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        allocate()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

torch.set_num_threads(1)
allocate()
found = [faults()]
keep_freed_memory()
allocate()
print(*found, faults())
"""


@pytest.mark.skipif(
    not hasattr(ctypes.CDLL(None), "gnu_get_libc_version"), reason="glibc alone has thresholds"
)
def test_freed_memory_comes_back_without_page_faults() -> None:
    done = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    before, after = map(int, done.stdout.split())
    assert 4 * after < before  # of 1.2 GiB in pages of any size


def test_older_glibc_takes_what_it_does_not_refuse(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, int]] = []

    def mallopt(parameter: int, size: int) -> int:
        asked.append((parameter, size))
        return int(parameter == -1 or size <= 32 << 20)

    monkeypatch.setattr(ctypes, "CDLL", lambda name: SimpleNamespace(mallopt=mallopt))
    keep_freed_memory()
    assert asked == [(-3, 1 << 30), (-3, 32 << 20), (-1, (1 << 31) - 1)]


def test_other_allocators_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: SimpleNamespace())
    keep_freed_memory()

    def no_library(name: Any) -> None:
        raise OSError("no such library")

    monkeypatch.setattr(ctypes, "CDLL", no_library)
    keep_freed_memory()
