"""Fixtures for the whole test suite."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from types import ModuleType

import pytest
import torch

from planet.ops import backend, extension

torch.set_num_threads(1)  # the models of tests are so small that threads cost more than they bring

FUSED_MISSING = "the compiled core is not built; see README, Install"


def fused_is_built() -> bool:
    """Whether the extension is there; a broken one counts, so that its error is seen."""
    return importlib.util.find_spec("planet._C") is not None or extension.module is not None


@pytest.fixture(
    params=[
        "reference",
        pytest.param("fused", marks=pytest.mark.skipif(not fused_is_built(), reason=FUSED_MISSING)),
    ]
)
def ops(request: pytest.FixtureRequest) -> ModuleType:
    """The ops of each backend in turn."""
    return backend(request.param)


@pytest.fixture
def int8_ops(ops: ModuleType) -> ModuleType:
    """The ops of each backend that has int8 products on this machine."""
    if ops is backend("fused") and not ops._C.has_int8():
        pytest.skip("the compiled core has no int8 products for this processor")
    return ops


@pytest.fixture
def both() -> tuple[ModuleType, ModuleType]:
    """Reference and fused, for comparisons of the two."""
    if not fused_is_built():
        pytest.skip(FUSED_MISSING)
    return backend("reference"), backend("fused")


@pytest.fixture
def report_error(
    record_property: Callable[[str, object], None],
) -> Callable[[str, float, float], None]:
    """Checks a measured error against its tolerance; shows it with `pytest -rP`."""

    def check(what: str, error: float, tolerance: float) -> None:
        sys.stdout.write(f"{what}: error {error:.1e}, tolerance {tolerance:.1e}\n")
        record_property(what, float(error))  # a plain number crosses process borders
        assert error <= tolerance, f"{what}: error {error:.3e} above {tolerance:.1e}"

    return check
