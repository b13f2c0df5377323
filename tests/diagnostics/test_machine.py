"""Facts of the machine that measurements are read with."""

from __future__ import annotations

import json

import pytest

from planet.diagnostics.machine import machine_facts


def test_machine_facts_name_processor_cores_and_versions() -> None:
    facts = machine_facts()
    assert {"processor", "cores", "load", "system", "python", "torch"} <= set(facts)
    assert facts["cores"] >= 1
    assert facts["processor"]
    json.dumps(facts, allow_nan=False)


def test_machine_facts_without_a_load_are_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("os.getloadavg")
    facts = machine_facts()
    assert facts["load"] is None
    json.dumps(facts, allow_nan=False)
