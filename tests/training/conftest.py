"""A model and a task small enough for whole runs within a second."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from settings import TINY

from planet.config import Config


@pytest.fixture(scope="session")
def tiny() -> Config:
    return TINY


@pytest.fixture(scope="session")
def whole(tiny: Config, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, ...]:
    """Outcome of a run of these settings that nothing disturbs."""
    from toy_runs import finished

    return finished(tiny, tmp_path_factory.mktemp("whole"))


# ---- Directories ---------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def halfway(tiny: Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stopped after 4 of 5 episodes; tests copy it."""
    return stopped(replace(tiny, train=replace(tiny.train, episodes=4)), tmp_path_factory)


@pytest.fixture
def run(halfway: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(halfway, tmp_path / "run"))


@pytest.fixture(scope="session")
def other(tiny: Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of another seed, of as many episodes."""
    return stopped(replace(tiny, train=replace(tiny.train, episodes=4, seed=9)), tmp_path_factory)


def stopped(config: Config, folder: pytest.TempPathFactory) -> Path:
    from toy_runs import finished

    directory = folder.mktemp("stopped")
    finished(config, directory)
    return directory
