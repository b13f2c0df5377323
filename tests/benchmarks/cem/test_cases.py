"""Wrong returns are not timed: ours end the benchmark, PyTorch's int8 is named as missing."""

from __future__ import annotations

import pytest
import torch
from cem import cases
from cem.on_gpu import TINY
from ops.fused_support import needs_extension


@pytest.fixture(autouse=True)
def strict(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cases, "TOLERANCES", dict.fromkeys(cases.TOLERANCES, -1.0))


@pytest.mark.skipif(
    "onednn" not in torch.backends.quantized.supported_engines, reason="torch has no oneDNN"
)
def test_quantised_products_of_pytorch_that_lose_too_much_are_missing() -> None:
    ready, missing = cases.prepare(cases.Problem(TINY), ("quantised int8",))
    assert not ready and "not timed" in missing["quantised int8"]


@needs_extension
@pytest.mark.parametrize("name", ["fp32", "reference", "eager"])
def test_other_wrong_returns_end_the_benchmark(name: str) -> None:
    with pytest.raises(SystemExit, match=f"{name}: returns are wrong by"):
        cases.Problem(TINY).variant(name)
