"""PEP 517 backend: scikit-build-core, plus torch as a build requirement where it is not at hand.

An isolated `pip install .` into an environment that has torch builds against that torch's headers
and downloads none; only a build environment that can see no torch at all asks for one.
"""

from __future__ import annotations

from scikit_build_core import build as _core
from scikit_build_core.build import *  # noqa: F403  (every hook; two are extended below)
from torch_headers import find

_Settings = dict[str, "list[str] | str"]


def _torch() -> list[str]:
    return [] if find() else ["torch>=2.11"]


def get_requires_for_build_wheel(config_settings: _Settings | None = None) -> list[str]:
    """What scikit-build-core needs (CMake and Ninja if the system has none), and torch headers."""
    return [*_core.get_requires_for_build_wheel(config_settings), *_torch()]


def get_requires_for_build_editable(config_settings: _Settings | None = None) -> list[str]:
    """As for a wheel."""
    return [*_core.get_requires_for_build_editable(config_settings), *_torch()]
