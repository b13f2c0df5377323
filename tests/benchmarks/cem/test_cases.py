"""Wrong returns are not timed, whoever's they are."""

from __future__ import annotations

import pytest
from cem import cases
from cem.on_gpu import TINY
from ops.fused_support import needs_extension


@needs_extension
@pytest.mark.parametrize("name", ["fp32", "reference", "eager", "quantised int8"])
def test_wrong_returns_end_the_benchmark(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    try:
        cases.Problem(TINY).variant(name)
    except cases.UnavailableError as error:
        pytest.skip(str(error))
    monkeypatch.setattr(cases, "TOLERANCES", dict.fromkeys(cases.TOLERANCES, -1.0))
    with pytest.raises(SystemExit, match=f"{name}: returns are wrong by"):
        cases.Problem(TINY).variant(name)
