"""The gate's verdicts lie apart by what was judged, and float32's stands beside another's."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from learning import gate
from learning.gate import Choice


def test_each_choice_has_a_file_of_its_own() -> None:
    names = [
        Choice(updates, plans, planner).name
        for updates in ("fp32", "bf16")
        for plans in gate.PRECISIONS
        for planner in gate.PLANNER_CONFIGS
    ]
    assert names[0] == "learning_gate.json"
    assert Choice(plans="bf16").name == "learning_gate_planner_bf16.json"
    assert Choice("bf16").name == "learning_gate_bf16.json"
    assert Choice(planner="icem").name == "learning_gate_icem.json"
    assert len(set(names)) == len(names)


def test_figures_of_float32_stand_beside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(gate, "RESULTS", tmp_path)
    path = tmp_path / Choice(plans="bf16").name
    for file, mean in ((path, 90.0), (tmp_path / Choice().name, 80.0)):
        run = {"seed": 1, "shuffled_rewards": False, "mean": mean, "standard_error": 9.4}
        runs = [run, {**run, "shuffled_rewards": True}, {"shuffled_rewards": False, "error": "1"}]
        file.write_text(json.dumps({"runs": runs}))
    assert gate.lines(path) == [
        "learning_gate_planner_bf16: seed 1: 90 +- 9",
        "learning_gate: seed 1: 80 +- 9",
    ]
