"""Serves the tests of the compiled core."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch

from planet.ops import fused, kernels

BUILT = fused._C is not None
ISAS: list[str] = fused._C.build_info()["isas"] if BUILT else []

# All CPU kernels that run here, by the instruction set that brings them and by precision.
KERNELS = [(name, "fp32") for name in ISAS]
for _precision in ("int8", "bf16") if BUILT else ():
    _sets = fused._C.build_info()["kernels"][_precision]
    KERNELS += [(name, _precision) for name in _sets if name in ISAS]

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
    """Returns the number by which the raw ops name an instruction set."""
    with isa(name):
        number: int = fused._C.isa()
        return number


def each_set_of(precision: str) -> pytest.MarkDecorator:
    """Makes `name` each instruction set that brings kernels of the precision; skips without any."""
    names = [name for name, served in KERNELS if served == precision]
    if names:
        return pytest.mark.parametrize("name", names)
    reason = "the compiled core is not built"
    if BUILT:
        reason = kernels._refusal(precision, fused._C.isa_name(), fused._C.build_info())
    return pytest.mark.parametrize("name", [pytest.param("", marks=pytest.mark.skip(reason))])


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Runs with so many of torch's threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
