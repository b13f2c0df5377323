"""`planet profile`: of a run, of a bare planner, and of several planners side by side."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("tyro", reason="the command line needs the train extra")

from planet.cli import main


def test_profile_of_a_bare_planner(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "profile.json"
    sizes = [
        "--horizon=2", "--candidates=20", "--iterations=3", "--action-size=2", "--belief-size=5",
        "--state-size=3", "--hidden-size=7", "--reward-layers=1", "--reward-hidden=4",
        "--batch-size=2",
    ]  # fmt: skip
    options = ["--backend", "reference", "--threads", "1", "--steps", "4", "--json", str(path)]
    assert main(["profile", *sizes, *options]) == 0
    content = json.loads(path.read_text())
    assert list(content["stages"]) == ["plan"] and content["steps"] == 4
    assert content["plan"] == {
        "horizon": 2, "candidates": 20, "iterations": 3, "topk": 2, "batch_size": 2,
        "belief_size": 5, "state_size": 3, "hidden_size": 7, "action_size": 2, "reward_hidden": [4],
    }  # fmt: skip
    assert content["compute"]["backend"] == "reference" and content["compute"]["threads"] == 1
    assert content["run"] is None
    output = capsys.readouterr().out
    assert "p99" in output and "candidates 20" in output and str(path) in output


def test_profile_of_a_run(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "profile.json"
    arguments = ["profile", str(trained), "--steps", "8", "--candidates", "12", "--json", str(path)]
    assert main(arguments) == 0
    content = json.loads(path.read_text())
    assert list(content["stages"]) == ["render", "filter", "plan", "environment", "total"]
    keys = ["p50_ms", "p95_ms", "p99_ms", "max_ms", "mean_ms"]
    for stage in content["stages"].values():
        assert list(stage) == keys
        assert 0 <= stage["p50_ms"] <= stage["p95_ms"] <= stage["p99_ms"] <= stage["max_ms"]
    means = [stage["mean_ms"] for stage in content["stages"].values()]
    assert means[-1] == pytest.approx(sum(means[:-1]))
    assert content["plan"]["candidates"] == 12 and content["plan"]["topk"] == 3
    assert content["run"]["task"] == "toy-reach"


def test_profile_refuses_a_size_that_the_run_decides(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["profile", str(trained), "--belief-size", "9"]) == 1
    assert "--belief-size: only for a bare planner" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "complaint"),
    [("--steps", "steps"), ("--threads", "threads"), ("--horizon", "horizon"),
     ("--batch-size", "batch_size"), ("--candidates", "candidates")],
)  # fmt: skip
def test_profile_refuses_zero(
    option: str, complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["profile", "--backend", "reference", option, "0"]) == 1
    assert complaint in capsys.readouterr().err
