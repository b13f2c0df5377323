"""Facts of the machine that measurements are read with."""

from __future__ import annotations

import json

import pytest

from planet.diagnostics.machine import machine_facts


@pytest.mark.parametrize("loaded", [True, False])
def test_machine_facts_are_json(loaded: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not loaded:
        monkeypatch.delattr("os.getloadavg")
    facts = machine_facts()
    assert {"processor", "cores", "load", "system", "python", "torch"} <= set(facts)
    assert facts["cores"] >= 1 and facts["processor"] and (facts["load"] is not None) == loaded
    json.dumps(facts, allow_nan=False)
