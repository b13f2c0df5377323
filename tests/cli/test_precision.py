"""Arithmetic that the processor lacks is refused by every command."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_run import train

pytest.importorskip("tyro", reason="the command line needs the train extra")

from planet.cli import main


@pytest.mark.parametrize("command", ["train", "evaluate", "profile"])
def test_int8_that_the_processor_does_not_run_is_refused_before_any_work(
    command: str, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    def refuse(*arguments: object, precision: str, **settings: object) -> None:
        raise ValueError(f"precision: {precision!r} needs another processor")

    monkeypatch.setattr("planet.ops.fused.cem_plan", refuse)
    chosen = ("--imagination.backend", "fused", "--imagination.precision", "int8")
    arguments = {
        "train": train(tmp_path / "run", *chosen),
        "evaluate": ["evaluate", str(trained), *chosen],
        "profile": ["profile", str(trained), *chosen],
    }[command]
    assert main(arguments) == 1
    captured = capsys.readouterr()
    assert captured.err == f"planet {command}: precision: 'int8' needs another processor\n"
    assert captured.out == ""
    assert not (tmp_path / "run").exists()
