"""A model and a task small enough for whole runs within a second."""

from __future__ import annotations

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
