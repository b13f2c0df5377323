"""Builds with scikit-build-core, and asks for torch where none is at hand (PEP 517).

A build beside a torch uses that torch's headers and downloads none (`torch_headers.py`); where no
torch is in sight one is asked for. What the system lacks is said in a sentence before CMake runs.
"""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from scikit_build_core import build as _core
from scikit_build_core.build import *  # noqa: F403  (every hook; four are extended below)
from system import check_system
from torch_headers import find

_Settings = dict[str, "list[str] | str"]


def get_requires_for_build_wheel(config_settings: _Settings | None = None) -> list[str]:
    """Asks for what scikit-build-core needs (CMake, Ninja), and for torch where there is none."""
    return [*_core.get_requires_for_build_wheel(config_settings), *_torch(config_settings)]


def get_requires_for_build_editable(config_settings: _Settings | None = None) -> list[str]:
    """As for a wheel."""
    requires = _core.get_requires_for_build_editable(config_settings)
    return [*requires, *_torch(config_settings)]


def build_wheel(
    wheel_directory: str,
    config_settings: _Settings | None = None,
    metadata_directory: str | None = None,
) -> str:
    """Builds with the headers that were found."""
    _prepare(config_settings)
    return _core.build_wheel(wheel_directory, _with_folder(config_settings), metadata_directory)


def build_editable(
    wheel_directory: str,
    config_settings: _Settings | None = None,
    metadata_directory: str | None = None,
) -> str:
    """As for a wheel."""
    _prepare(config_settings)
    return _core.build_editable(wheel_directory, config_settings, metadata_directory)


def _with_folder(config_settings: _Settings | None) -> _Settings:
    """Adds a build folder elsewhere if the sources are in a folder without write access.

    A build folder that is kept there makes the next build quicker; an editable install needs it.
    """
    settings = dict(config_settings or {})
    kept = "build" if os.path.isdir("build") else "."
    if not os.access(kept, os.W_OK) and "build-dir" not in settings:
        folder = tempfile.mkdtemp(prefix="planet-build-")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        settings["build-dir"] = folder
    return settings


def _torch(config_settings: _Settings | None) -> list[str]:
    _prepare(config_settings)
    if "PLANET_TORCH_INCLUDE" in os.environ:
        return []
    print(
        "planet: no torch was found to build against, so one is downloaded for the build alone; "
        "install torch first, or set PLANET_TORCH_INCLUDE=.../torch/include, to avoid that",
        file=sys.stderr,
    )
    return ["torch>=2.11"]


def _prepare(config_settings: _Settings | None) -> None:
    """Checks the system, and tells CMake where torch is: it cannot see the installer."""
    if "CMAKE_CXX_COMPILER" not in f"{config_settings} {os.environ.get('CMAKE_ARGS')}":
        _or_exit(check_system)
    if found := _or_exit(find):
        os.environ["PLANET_TORCH_INCLUDE"] = str(found)


def _or_exit(check: Callable[[], Path | None]) -> Path | None:
    """Ends with one sentence and no traceback: installers show what a hook printed last."""
    try:
        return check()
    except (RuntimeError, ValueError) as error:
        sys.exit(f"planet: {error}")
