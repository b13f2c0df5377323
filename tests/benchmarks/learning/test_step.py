"""The benchmark of a gradient step runs, finds equal gradients and counts right."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

pytest.importorskip("gymnasium", reason="the toy task is a gymnasium.Env")

from learning import step
from learning.step_cases import REFERENCE, VARIANTS, Step, operations, pieces, preset_case
from ops.fused_support import needs_extension


@needs_extension
def test_the_command_writes_what_it_promises(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "step.json"
    arguments = ["--samples", "2", "--pieces", "1", "--loss-curve", "2", "--out", str(path)]
    monkeypatch.setattr(sys, "argv", ["step.py", *arguments])
    monkeypatch.setattr(step, "WARM_UP", 1)
    step.main()
    found, shown = json.loads(path.read_text()), capsys.readouterr().out
    assert set(found["samples"]) | set(found["missing"]) == set(VARIANTS)
    assert not {REFERENCE, "fused"} & set(found["missing"])
    for clocks in found["samples"].values():
        assert {clock: len(times) for clock, times in clocks.items()} == {"cpu": 2, "wall": 2}
    assert found["errors"]["fused"]["gradients"] < 1e-5
    assert found["ratios"]["fused"]["cpu median"]["ratio"] > 0
    assert all(set(part["ms"]) == set(found["samples"]) for part in found["parts"].values())
    counted = sum(part["giga_operations"] for part in found["parts"].values())
    assert counted == pytest.approx(found["arithmetic"]["giga_operations"])
    assert len(found["loss_curve"]["totals"]["fused"]) == 2
    for line in ("GFLOP a step", "reference / fused: cpu median", "rest of the step"):
        assert line in shown


def test_operations_are_those_of_the_layers() -> None:
    """A decoder of two layers: forward, inputs' gradients and weights' gradients cost the same."""
    case = preset_case("small", 1)
    counted = operations(pieces(Step(case, REFERENCE), case.chunks[0])["decoder and loss"])
    assert counted == 3 * 2 * 400 * (120 * 200 + 200 * 3072)


def test_ratios_are_of_rounds() -> None:
    found = step.ratio([2.0, 4.0, 8.0], [1.0, 2.0, 4.0], "median")
    assert found == {"ratio": 2.0, "low": 2.0, "high": 2.0}


def test_memory_is_of_a_process_of_its_own() -> None:
    found = step.memory("small", [REFERENCE], updates=1, threads=1)[REFERENCE]
    assert 0 < found["before_mb"] <= found["peak_mb"] and found["updates"] == 1
