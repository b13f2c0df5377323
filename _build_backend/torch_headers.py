"""Finds the torch headers to build against, without importing torch.

The extension uses torch's stable ABI only, so that headers and run time may differ in version. So
where an installer builds in an environment of its own (pip, uv, pipx, `python -m build`), the torch
of the environment that it installs into will do, or the one beside the installer. In order:

1. PLANET_TORCH_INCLUDE, a folder;
2. the torch that this interpreter can import;
3. the torch in its `platlib`, which pip's build environments leave as it was;
4. the torch where the installer installs to (`installation.py`).

Run as a script it prints the folder, or nothing.
"""

from __future__ import annotations

import importlib.util
import os
import re
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import installation

OLDEST = (2, 11)
_STABLE_ABI = Path("torch/csrc/stable/library.h")
_VERSION_HEADERS = ("torch/headeronly/version.h", "torch/csrc/api/include/torch/version.h")


def find() -> Path | None:
    """Returns the include folder of a torch that is new enough; None where there is no torch.

    Raises:
      ValueError: PLANET_TORCH_INCLUDE is wrong, or every torch that was found is too old.
    """
    if override := os.environ.get("PLANET_TORCH_INCLUDE"):
        path = Path(override)
        if (path / _STABLE_ABI).is_file() and _version(path) >= OLDEST:
            return path
        raise ValueError(
            "PLANET_TORCH_INCLUDE: expected the `include` folder of a torch >= 2.11, got "
            f"'{override}', {_what(path)}"
        )
    old = None
    for path in _candidates():
        if (path / _STABLE_ABI).is_file() and _version(path) >= OLDEST:
            return path
        if path.is_dir():
            old = old or path
    if old:
        raise ValueError(
            f"expected torch >= 2.11, got '{old.parent}', {_what(old)}; upgrade it first, or give "
            "the headers of another torch: PLANET_TORCH_INCLUDE=.../torch/include"
        )
    return None


def _candidates() -> Iterator[Path]:
    spec = importlib.util.find_spec("torch")
    if spec is not None and spec.origin is not None:
        yield Path(spec.origin).parent / "include"
    for key in ("platlib", "purelib"):
        yield Path(sysconfig.get_path(key)) / "torch" / "include"
    yield from installation.torch_folders()


def _version(include: Path) -> tuple[int, int]:
    """Reads major and minor version of the headers; (0, 0) where they do not say."""
    for name in _VERSION_HEADERS:
        if (include / name).is_file():
            text = (include / name).read_text(encoding="utf-8", errors="replace")
            parts = dict(re.findall(r"define TORCH_VERSION_(MAJOR|MINOR) (\d+)", text))
            if len(parts) == 2:
                return int(parts["MAJOR"]), int(parts["MINOR"])
    return 0, 0


def _what(include: Path) -> str:
    version = _version(include)
    if version == (0, 0):
        return "which has none" if include.is_dir() else "which is not there"
    return f"which is torch {version[0]}.{version[1]}"


if __name__ == "__main__":
    try:
        print(find() or "")
    except ValueError as error:
        sys.exit(f"planet: {error}")
