"""Loads the compiled extension `planet._C`, or says why there is none. Nothing else loads it.

An installed package has its extension beside it. In a source folder one serves, beside the package
or installed, if it was built from the same sources, which a hash tells (`planet.ops.fingerprint`).
So Python runs in a clone as it does elsewhere, and an extension of other sources is never called.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import Any

import torch

from planet.errors import advice
from planet.ops.fingerprint import compiled_fingerprint, fingerprint

NAME = "planet._C"
SUFFIX = next((end for end in EXTENSION_SUFFIXES if ".abi3" in end), EXTENSION_SUFFIXES[0])
"""How the file's name ends: one file serves every version of Python that loads such files."""
TORCH = (2, 11)
"""The oldest torch that has all that the extension calls."""


@dataclass(frozen=True)
class Missing:
    """Says why there is no extension.

    Attributes:
      cause: a sentence without its full stop.
      remedy: a command, or what else helps.
    """

    cause: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.cause}; the remedy: {self.remedy}"


def missing() -> Missing:
    """Finds out why the extension was not loaded, and what helps."""
    if _failure is not None:
        return _not_loaded(*_failure)
    if NAME in sys.modules:
        remedy = f"leave sys.modules[{NAME!r}] alone"
        return Missing("its import is blocked in this process", remedy)
    package, root = advice.PACKAGE, advice.source_folder()
    if not os.path.isdir(package):
        cause = f"planet runs from {package}, out of which no compiled extension can be loaded"
        return Missing(cause, advice.rebuild())
    stale = next(_candidates(), None)
    if stale is not None and root is not None:
        return Missing(_other_sources(stale, root), _replacement(stale))
    hidden = _hidden_packages()
    if root is None and hidden:
        cause = f"{package}, which is no source folder, has none and hides the installed"
        remedy = f"remove {package} or start Python where it is not on the path"
        return Missing(f"{cause} {hidden[0]}", remedy)
    foreign = [file for folder in (package, *hidden) for file in _foreign_extensions(folder)]
    if foreign:
        needed = f"{sys.executable} needs _C{SUFFIX}"
        cause = f"{foreign[0]} was built for another Python or platform; {needed}"
    elif root is not None:
        where = f"the source folder {root} and is not installed for {sys.executable}"
        cause = f"it is not built: planet runs from {where}"
    else:
        cause = f"the planet installed in {package} came without it"
    return Missing(cause, advice.rebuild())


def path() -> Path:
    """Returns the file of the extension.

    Raises:
      ImportError: there is none; the message says why and what helps.
    """
    if module is None:
        raise ImportError(f"planet has no compiled extension: {missing()}")
    return Path(module.__file__)


def _load() -> tuple[Any, tuple[Path | None, Exception] | None]:
    """Returns the extension that suits this package, and the file that failed, with its error."""
    file = None
    try:
        file = next((file for file in _candidates() if _serves(file)), None)
        if file is None:
            return None, None
        spec = importlib.util.find_spec(NAME)
        if spec is not None and spec.origin == str(file):
            return importlib.import_module(NAME), None
        spec = importlib.util.spec_from_file_location(NAME, file)
        assert spec is not None and spec.loader is not None
        loaded = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(loaded)
    except Exception as error:  # a broken file must not take the reference and the trainer along
        return None, (file, error)
    sys.modules[NAME] = loaded
    return loaded, None


def _candidates() -> Iterator[Path]:
    """Lists what Python finds for this package, then what that or its source folder hides."""
    spec = importlib.util.find_spec(NAME)
    if spec is not None and spec.origin is not None:
        yield Path(spec.origin)
    blocked = NAME in sys.modules and sys.modules[NAME] is None
    if advice.source_folder() is not None and not blocked:
        for folder in (advice.PACKAGE, *_hidden_packages()):
            files = (folder / f"_C{suffix}" for suffix in EXTENSION_SUFFIXES)
            yield from (file for file in files if os.path.isfile(file))


def _serves(file: Path) -> bool:
    """Whether it was built from the package's sources; an installed one's own always was."""
    root = advice.source_folder()
    return root is None or compiled_fingerprint(file) == fingerprint(root)


def _hidden_packages() -> list[Path]:
    """Lists the folders of other packages of that name further down on Python's path."""
    folders = [Path(entry or os.curdir) / "planet" for entry in sys.path if isinstance(entry, str)]
    present = [folder for folder in folders if os.path.isfile(folder / "__init__.py")]
    return [f.absolute() for f in present if not os.path.samefile(f, advice.PACKAGE)]


def _foreign_extensions(folder: Path) -> list[Path]:
    """Lists the extensions in a package's folder that this Python does not load."""
    built = [file for file in folder.glob("_C.*") if file.suffix in (".so", ".pyd", ".dylib")]
    return sorted(file for file in built if file.name[2:] not in EXTENSION_SUFFIXES)


def _other_sources(file: Path, root: Path) -> str:
    """Says that `file` was built from other sources than those in `root`."""
    hashes = f"{compiled_fingerprint(file) or 'no fingerprint'}, here {fingerprint(root)}"
    if file.parent in _hidden_packages():
        return (
            f"the source folder {root} hides the planet installed in {file.parent}, whose "
            f"extension was built from other sources ({hashes})"
        )
    return f"{file} was built from other sources than those in {root} ({hashes})"


def _not_loaded(file: Path | None, error: Exception) -> Missing:
    """Says why loading `file` failed."""
    found = re.match(r"(\d+)\.(\d+)", torch.__version__)
    if found and (int(found[1]), int(found[2])) < TORCH:
        oldest = ".".join(map(str, TORCH))
        cause = f"torch {torch.__version__} is older than {oldest}, which the extension needs"
        return Missing(cause, advice.install(f"torch>={oldest}"))
    if "PLANET_CPU_ISA" in str(error):
        return Missing(str(error), "unset PLANET_CPU_ISA")
    what = "the extension" if file is None else str(file)
    cause = f"{what} cannot be loaded ({type(error).__name__}: {error})"
    return Missing(cause, _replacement(file))


def _replacement(file: Path | None) -> str:
    """Returns the command that puts another extension in the place of `file`."""
    if file is None or advice.source_folder() is None or file.parent != advice.PACKAGE:
        return advice.rebuild()
    return f"rm {shlex.quote(str(file))} && {advice.rebuild()}"  # it would hide the new one


module, _failure = _load()
