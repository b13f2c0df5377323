"""The packages of the `train` extra: which are missing, and which cannot be imported."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass

EXTRA = {
    "gymnasium": "gymnasium",
    "dm_control": "dm_control",
    "mujoco": "mujoco",
    "OpenGL": "PyOpenGL",
    "tyro": "tyro",
    "tensorboard": "tensorboard",
    "imageio": "imageio",
    "imageio_ffmpeg": "imageio-ffmpeg",
    "matplotlib": "matplotlib",
    "tqdm": "tqdm",
}
"""Modules and the distributions that bring them."""

OPTIONAL = ("tensorboard",)
"""Modules that training does without: metrics are then written as JSON alone."""

# What is really used of a package, where its top module imports too little to tell.
_USED = {
    "dm_control": "import dm_control.suite",
    "tensorboard": "import torch.utils.tensorboard",
    "imageio_ffmpeg": "import imageio_ffmpeg; imageio_ffmpeg.get_ffmpeg_exe()",
    "matplotlib": "import matplotlib.figure",
}
_MARK = "planet-import "
_IMPORT_TEST = f"""
import json, sys
for module, statement in json.loads(sys.argv[1]):
    print("{_MARK}" + json.dumps([module, None]), flush=True)
    try:
        exec(statement)
        error = ""
    except (Exception, SystemExit) as raised:
        error = " ".join(f"{{type(raised).__name__}}: {{raised}}".split())
    print("\\n{_MARK}" + json.dumps([module, error]), flush=True)
"""


@dataclass(frozen=True)
class Broken:
    """A package that is installed and cannot be used.

    Attributes:
      module: its name in Python.
      error: what importing it raised, or how the process ended.
    """

    module: str
    error: str

    def __str__(self) -> str:
        return f"{EXTRA[self.module]} {version(EXTRA[self.module])} ({self.error})"


def missing_packages() -> set[str]:
    """Returns the modules that are not installed."""
    return {module for module in EXTRA if not is_installed(module)}


def broken_packages(modules: Sequence[str], seconds: float) -> list[Broken]:
    """Imports each module in a process of its own, which a crash or a hang only ends.

    Args:
      modules: of `EXTRA`, all of them installed.
      seconds: how long one process may take.

    Returns:
      those that raised any exception, ended the process or did not end.
    """
    found: list[Broken] = []
    remaining = list(modules)
    while remaining:
        results, ending = _import_all(remaining, seconds)
        if not results:  # Python itself does not start
            return found + [Broken(module, ending) for module in remaining]
        found += [Broken(module, error) for module, error in results.items() if error]
        started = [module for module, error in results.items() if error is None]
        found += [Broken(module, ending) for module in started]
        remaining = remaining[len(results) :]
    return found


def is_installed(module: str) -> bool:
    """Tells whether Python finds a module, without importing it."""
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def version(distribution: str) -> str:
    """Returns the version of a distribution as its metadata say it."""
    try:
        return importlib.metadata.version(distribution) or "(version unknown)"
    except (importlib.metadata.PackageNotFoundError, KeyError):
        return "(version unknown)"


def python_environment() -> dict[str, str]:
    """Returns the environment in which another Python finds the modules that this one does."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path or "." for path in sys.path)}


def _import_all(modules: Sequence[str], seconds: float) -> tuple[dict[str, str | None], str]:
    """Imports until one ends the process: the error by module, None for that one, and its end."""
    statements = [(module, _USED.get(module, f"import {module}")) for module in modules]
    # No display is looked for: MuJoCo's import would fail for reasons that rendering tells better.
    environment = {**python_environment(), "MUJOCO_GL": "disable"}
    environment.pop("PYOPENGL_PLATFORM", None)
    try:
        done = subprocess.run(
            [sys.executable, "-c", _IMPORT_TEST, json.dumps(statements)],
            capture_output=True, text=True, timeout=seconds, env=environment, check=False,
        )  # fmt: skip
        output, ending = done.stdout, f"importing it ended the process with {done.returncode}"
    except subprocess.TimeoutExpired as error:
        written = error.stdout or b""
        output = written.decode(errors="replace") if isinstance(written, bytes) else written
        ending = f"importing it did not end within {seconds:.0f} s"
    lines = [line.removeprefix(_MARK) for line in output.splitlines() if line.startswith(_MARK)]
    return dict(map(json.loads, lines)), ending
