"""A finished run for the tests of the commands."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_run import train


@pytest.fixture(scope="package")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run; tests must not change it, except for the scores, curve and video in it."""
    pytest.importorskip("tyro", reason="the command line needs the train extra")
    pytest.importorskip("gymnasium", reason="the command line needs the train extra")
    from planet.cli import main

    directory = tmp_path_factory.mktemp("runs") / "trained"
    assert main(train(directory)) == 0
    return directory
