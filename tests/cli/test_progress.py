"""Bars on a terminal, lines everywhere, and times as people read them."""

from __future__ import annotations

import sys

import pytest

from planet.cli.progress import Lines, duration, make_progress


def test_bars_show_rate_remaining_time_and_values(capsys: pytest.CaptureFixture[str]) -> None:
    bars = Lines(bars=True)
    bars.start("learn from 3 episodes", 2)
    bars.remaining(540, whole=True)
    bars.advance(loss=1.23456)
    bars.message("in between")
    bars.remaining(7, whole=True)
    bars.finish()
    bars.finish()
    captured = capsys.readouterr()
    assert all(text in captured.err for text in ("learn from 3 episodes", "?", "/2 ["))
    assert "loss 1.235, run ends in about 9 min]" in captured.err
    first, last = captured.out.splitlines()
    assert first == "in between"
    assert last.startswith("learn from 3 episodes: 1 updates in ")
    assert last.endswith("/s), loss 1.235, run ends in about 7 s")


@pytest.mark.parametrize(
    ("seconds", "whole", "said"),
    [
        (0.2, True, "run ends in about 1 s"),
        (119, True, "run ends in about 119 s"),
        (3599, True, "run ends in about 1 h 00 min"),
        (11220, False, "run ends in more than 3 h 07 min"),
        (59, False, ""),  # at least so little says nothing
        (0, True, ""),
    ],
)
def test_the_remaining_time_of_a_run_is_said_as_roughly_as_it_is_known(
    seconds: float, whole: bool, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = Lines()
    lines.start("learn", 1)
    lines.remaining(seconds, whole)
    lines.finish()
    assert capsys.readouterr().out.rstrip("\n").partition("/s)")[2].lstrip(", ") == said


@pytest.mark.parametrize("terminal", [True, False])
def test_bars_are_for_terminals(terminal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    for stream in (sys.stdout, sys.stderr):
        monkeypatch.setattr(stream, "isatty", lambda: terminal)
    assert make_progress().bars is terminal


def test_durations_are_readable() -> None:
    assert [duration(s) for s in (0.84, 59.94, 125, 11220)] == [
        "0.8 s", "59.9 s", "2 min 05 s", "3 h 07 min",
    ]  # fmt: skip
