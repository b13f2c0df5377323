"""`planet diagnose`: an agent beside planning on the true simulator."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from envs.conftest import opengl  # noqa: F401  (a fixture)
from small_run import train

pytest.importorskip("tyro", reason="the command line needs the train extra")

from planet.cli import main


@pytest.mark.usefixtures("opengl")
def test_diagnose_puts_returns_side_by_side(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = tmp_path / "run"
    task = ["--task", "cartpole-balance", "--environment.control-steps", "48"]
    few = ["--train.episodes", "2", "--train.evaluation-interval", "0"]
    assert main(train(directory, *task, *few)) == 0
    capsys.readouterr()
    assert main(["diagnose", str(directory), "--episodes", "2", "--every", "2"]) == 0
    output = capsys.readouterr().out
    content = json.loads((directory / "diagnosis.json").read_text())
    assert content["task"] == "cartpole-balance" and content["every"] == 2
    assert [len(episode["steps"]) for episode in content["episodes"]] == [2, 2]
    assert f"to be improved: {content['verdict']}" in output
    assert str(directory / "diagnosis.json") in output
    for score in content["scores"].values():
        assert len(score["returns"]) == 2 and f"{score['mean']:.1f}" in output
    assert all(0 < episode["simulator"] <= 48 for episode in content["episodes"])


def test_a_task_without_a_simulator_is_refused(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["diagnose", str(trained)]) == 1
    captured = capsys.readouterr()
    assert "environment: expected a task of the DM Control Suite" in captured.err
    assert not (trained / "diagnosis.json").exists()
