"""Finds out which packages of the `train` extra are missing, and which cannot be imported."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import subprocess
import sys
from collections.abc import Sequence

EXTRA = {
    "gymnasium": "gymnasium", "dm_control": "dm_control", "mujoco": "mujoco", "OpenGL": "PyOpenGL",
    "tyro": "tyro", "tensorboard": "tensorboard", "imageio": "imageio",
    "imageio_ffmpeg": "imageio-ffmpeg", "matplotlib": "matplotlib", "tqdm": "tqdm",
    "pyperf": "pyperf",
}  # fmt: skip
"""Modules and the distributions that bring them."""

OPTIONAL = {
    "tensorboard": "metrics are written as JSON alone",
    "pyperf": "`planet profile` writes and compares no files",
}
"""Modules that training does without, and what is missing then."""

# What is really used of a package, where its top module imports too little to tell.
_USED = {
    "dm_control": "import dm_control.suite",
    "tensorboard": "import torch.utils.tensorboard",
    "imageio_ffmpeg": "import imageio_ffmpeg; imageio_ffmpeg.get_ffmpeg_exe()",
    "matplotlib": "import matplotlib.figure",
}
# Ends before anything that the packages do at a process's end.
_IMPORT_TEST = """
import os, sys
try:
    exec(sys.argv[1])
except (Exception, SystemExit) as error:
    print("\\n" + " ".join(f"{type(error).__name__}: {error}".split()), flush=True)
    os._exit(1)
os._exit(0)
"""


def missing_packages() -> set[str]:
    """Returns the modules that are not installed."""
    return {module for module in EXTRA if not is_installed(module)}


def broken_packages(modules: Sequence[str], seconds: float) -> dict[str, str]:
    """Imports each module in a process of its own, which a crash or a hang only ends.

    Args:
      modules: of `EXTRA`, all of them installed.
      seconds: how long each process may take.

    Returns:
      by module, what importing raised, or how the process ended; none of those that can be used.
    """
    errors = {module: _import_error(module, seconds) for module in modules}
    return {module: error for module, error in errors.items() if error}


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
    """Returns the environment in which another Python finds the modules that this one does.

    By itself `python -c` would look into the working folder first: a user's `imageio.py`, say.
    """
    path = os.pathsep.join(path or "." for path in sys.path)
    return {**os.environ, "PYTHONPATH": path, "PYTHONSAFEPATH": "1"}


def _import_error(module: str, seconds: float) -> str:
    """Imports a module in another process; returns what went wrong, or ""."""
    # No display is looked for: MuJoCo's import would fail for reasons that rendering tells better.
    environment = {**python_environment(), "MUJOCO_GL": "disable"}
    environment.pop("PYOPENGL_PLATFORM", None)
    try:
        done = subprocess.run(
            [sys.executable, "-c", _IMPORT_TEST, _USED.get(module, f"import {module}")],
            capture_output=True, text=True, errors="replace", timeout=seconds, env=environment,
            check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"importing it did not end within {seconds:.0f} s"
    lines = done.stdout.splitlines()
    if done.returncode == 1 and lines:
        return lines[-1]
    return f"importing it ended the process with {done.returncode}" if done.returncode else ""
