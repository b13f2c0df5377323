"""Serves the tests of the compiled core."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch

from planet.ops import fused

BUILT = fused._C is not None
ISAS: list[str] = fused._C.build_info()["isas"] if BUILT else []

# All CPU kernels, by instruction set and precision.
KERNELS = [(name, "fp32") for name in ISAS]
if BUILT and "int8" in fused._C.precisions():
    KERNELS.append((fused._C.isa_name(), "int8"))

needs_extension = pytest.mark.skipif(not BUILT, reason="the compiled core is not built")


@contextmanager
def isa(name: str | None) -> Iterator[None]:
    """Runs with one instruction set; afterwards the default is back."""
    fused._C.set_isa(name)
    try:
        yield
    finally:
        fused._C.set_isa(None)


def isa_number(name: str) -> int:
    """What the raw ops call an instruction set."""
    with isa(name):
        number: int = fused._C.isa()
        return number


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Runs with so many of torch's threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
