"""The control step's benchmark runs, and refuses to time a form that acts otherwise."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from control_step import bench
from control_step.bench import Form
from ops.fused_support import needs_extension

from planet.acting.captured_step import CapturedStep
from planet.config.presets import PRESETS

CPU = torch.device("cpu")


@needs_extension
def test_the_command_writes_what_it_promises(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "step.json"
    arguments = ["--preset", "small", "--steps", "4", "--problems", "1", "2", "--output", str(path)]
    monkeypatch.setattr(sys, "argv", ["bench.py", *arguments])
    bench.main()
    content = json.loads(path.read_text())
    assert list(content["problems"]) == ["1", "2"]
    for batch, result in content["problems"].items():
        assert set(result["times"]) | set(result["missing"]) == set(bench.CPU_FORMS)
        assert set(result["steps"].values()) == {4 // int(batch)}
        for times in result["times"].values():
            assert times["p50_ms"] is times["p99_ms"] is None  # of so few steps
            assert times["max_ms"] > 0
    assert "static buffers fp32" in capsys.readouterr().out


@needs_extension
def test_a_captured_form_that_acts_otherwise_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    right = CapturedStep._act

    def wrong(step: CapturedStep, explore: bool) -> None:
        right(step, explore)
        step._report[:, 0] += 1e-6  # an action; the last column says whether all is finite

    monkeypatch.setattr(CapturedStep, "_act", wrong)
    config, forms = PRESETS["small"]("cheetah-run"), {"captured": Form("fp32", capture=True)}
    assert bench.ready(config, forms, CPU, 1) == ({}, {"captured": bench.WRONG})


@needs_extension
def test_a_persistent_form_that_fails_costs_itself_alone_and_is_no_success(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make = bench.make_agent

    def fails(config: Any, form: Form, device: torch.device) -> Any:
        if form.variant == "persistent":
            raise RuntimeError("unspecified launch failure\nwith details")
        return make(config, form, device)

    monkeypatch.setattr(bench, "make_agent", fails)
    forms = {"lasting": Form("fp32", "persistent"), "eager": Form("fp32")}
    assert [list(group) for group in bench.groups(forms)] == [["eager"], ["lasting"]]
    for chosen, timed in ((forms, ["eager"]), ({"lasting": forms["lasting"]}, [])):
        monkeypatch.setattr(bench, "CPU_FORMS", chosen)
        path = tmp_path / "step.json"
        monkeypatch.setattr(sys, "argv", ["bench.py", "--quick", "--output", str(path)])
        assert bench.main() == 1
        found = json.loads(path.read_text())["problems"]["1"]
        assert list(found["times"]) == timed
        assert found["missing"] == {"lasting": "failed: unspecified launch failure"}
    assert "nothing was timed, 1 wrong" in capsys.readouterr().out


@needs_extension
def test_where_every_form_is_refused_nothing_was_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench, "CPU_FORMS", {"half": Form("fp16")})
    output = str(tmp_path / "step.json")
    monkeypatch.setattr(sys, "argv", ["bench.py", "--quick", "--output", output])
    assert bench.main() == 1
