"""Fixtures of the environment tests."""

import contextlib
import subprocess
from collections.abc import Callable

import processes
import pytest

from planet.envs import RenderingUnavailable
from planet.envs._library import choose_backend, prepare_import

with contextlib.suppress(RenderingUnavailable):  # before a test imports dm_control by itself
    prepare_import()


@pytest.fixture(scope="session")
def opengl() -> str:
    """The OpenGL backend; tests that draw are skipped where there is none."""
    pytest.importorskip("dm_control", reason="needs the train extra")
    try:
        return choose_backend()
    except RenderingUnavailable as error:
        pytest.skip(str(error))


@pytest.fixture
def open_environment():
    """Makes environments with small, cheap frames, closed at the end of the test."""
    from planet.envs import make

    made = []

    def open_environment(task="cheetah-run", **settings):
        settings = {"image_size": 16, "quality": "fast", **settings}
        made.append(make(task, **settings))
        return made[-1]

    yield open_environment
    for environment in made:
        environment.close()


@pytest.fixture
def run_script(tmp_path) -> Callable[..., subprocess.CompletedProcess]:
    """Runs a script in a fresh interpreter: `run_script(text, NAME="value" or None)`."""

    def run(text: str, **variables: str | None):
        absent = dict.fromkeys(("MUJOCO_GL", "PYOPENGL_PLATFORM", "LP_NUM_THREADS"))
        wanted = processes.variables() | absent | variables
        script = tmp_path / "script.py"
        script.write_text(text)
        return processes.python(
            "-W", "ignore::DeprecationWarning:__main__", script, status=None,
            env={name: value for name, value in wanted.items() if value is not None},
        )  # fmt: skip

    return run
