"""Kills and damages runs: they end as if nothing had been, or are refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest
from processes import python, variables

pytest.importorskip("gymnasium", reason="the toy task is a gymnasium.Env")
pytest.importorskip("tyro", reason="the command line needs the train extra")
pytest.importorskip("tensorboard", reason="curves are compared with the metrics")


def test_nothing_is_lost_by_kills_and_damage() -> None:
    """Runs a sample of `make durability` in a process of its own, which forks for every case."""
    options = ["--seed", "0", "--kills", "5", "--points", "10", "--damages", "20"]
    python("-m", "durability", *options, cwd=Path(__file__).parents[1], env=variables())
