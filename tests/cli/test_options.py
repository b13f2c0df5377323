"""Options of the commands that act with a run: the config's own, with the run's values."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

pytest.importorskip("tyro", reason="the command line needs the train extra")

from planet.cli import main


@pytest.mark.parametrize("command", ["evaluate", "profile"])
def test_help_shows_the_run_s_own_settings(
    command: str, trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command, str(trained), "--help"]) == 0
    shown = " ".join(capsys.readouterr().out.replace("\u2502", "").split())
    assert "--planner.candidates INT J, action sequences per iteration" in shown
    assert "(default: 10)" in shown and "(default: reference)" in shown
    assert "--train.device" in shown and "--train.learning-rate" not in shown


@pytest.mark.parametrize(
    ("options", "status", "complaint"),
    [
        (["--planner.topk", "11"], 2, "topk: expected 1 <= K <= J=10, got 11"),
        (["--model.belief-size", "9"], 2, "--model.belief-size"),
        (["--imagination.precison", "int8"], 2, "--imagination.precison"),
    ],
)
def test_wrong_settings_are_refused_in_the_config_s_words(
    options: list[str], status: int, complaint: str, trained: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    assert main(["evaluate", str(trained), *options]) == status
    assert complaint in capsys.readouterr().err


def test_another_run_among_the_options_is_refused(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(trained / "config.json", tmp_path)
    assert main(["profile", "--plot", f"{tmp_path}", str(trained)]) == 1
    assert f"expected the directory of one run, got {tmp_path} too" in capsys.readouterr().err
