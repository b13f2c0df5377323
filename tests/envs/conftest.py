"""Fixtures of the environment tests."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable

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
def run_script(tmp_path) -> Callable[..., subprocess.CompletedProcess]:
    """Runs a script in a fresh interpreter: `run_script(text, NAME="value" or None)`."""

    def run(text: str, timeout: float = 1800.0, **variables: str | None):
        environment = dict(os.environ)
        environment.pop("MUJOCO_GL", None)
        environment.pop("PYOPENGL_PLATFORM", None)
        environment.pop("LP_NUM_THREADS", None)
        for name, value in variables.items():
            if value is None:
                environment.pop(name, None)
            else:
                environment[name] = value
        environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
        script = tmp_path / "script.py"
        script.write_text(text)
        return subprocess.run(
            [sys.executable, "-W", "ignore::DeprecationWarning:__main__", str(script)],
            env=environment,
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    return run
