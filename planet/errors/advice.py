"""Writes the commands that messages propose, as they work where the user stands.

Everything is looked up when a message is written. Needs the standard library alone.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import re
import shlex
import shutil
import sys
import sysconfig
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

PROJECT = "planet-rl"
PACKAGE = Path(__file__).parents[1]
"""The folder of the planet that runs."""

DM_CONTROL = "dm_control>=1.0.50"
"""As the `train` extra asks for it."""

_ELSEWHERE = "in planet's source folder: "
# There labmaze, which dm_control asks for and its suite does not use, cannot be installed.
_WITHOUT_LABMAZE = sys.version_info[:2] >= (3, 13)


@dataclass(frozen=True)
class Origin:
    """Says from where this planet can be installed again.

    Attributes:
      requirement: for pip: a folder, a file, a URL or the project's name; "" where it is not known.
      kind: "folder", "editable", "file", "url", "name" or "unknown".
    """

    requirement: str
    kind: str


def source_folder() -> Path | None:
    """Returns the source folder that the running planet lies in; None where it is installed."""
    root = PACKAGE.parent
    whole = all(os.path.exists(root / name) for name in ("pyproject.toml", "csrc", "bindings"))
    return root if whole else None


def origin() -> Origin:
    """Finds the source folder it runs from, else what the installer noted (`direct_url.json`)."""
    noted, root = _noted_origin(), source_folder()
    if root is None:
        return noted
    same = noted.kind == "editable" and Path(noted.requirement) == root.absolute()
    return Origin(str(root.absolute()), "editable" if same else "folder")


def install(*requirements: str) -> str:
    """Returns the command that installs packages into this Python."""
    return _command(map(shlex.quote, requirements))


def repair(package: str) -> str:
    """Returns the command that installs a package of the extra anew, and what it depends on.

    dm_control takes any MuJoCo, but does not work with every one.
    """
    if package == "dm_control" and _WITHOUT_LABMAZE:
        return install("--force-reinstall", "--no-deps", DM_CONTROL)
    wanted = "dm_control|mujoco" if package == "dm_control" else package
    fitting = [r for r in packages_of("train") if re.fullmatch(rf"({wanted})\b(?!-).*", r)]
    return install("--force-reinstall", *(fitting or [package]))


def install_extra() -> str:
    """Returns the command that installs what the `train` extra brings."""
    found = origin()
    if found.kind == "unknown":
        packages = packages_of("train")
        command = install(*packages) if packages else _ELSEWHERE + install(".[train]")
    elif found.kind == "url":
        command = install(f"{PROJECT}[train] @ {found.requirement}")
    else:
        command = _command([*_editable(found), shlex.quote(f"{_short(found)}[train]")])
    if _WITHOUT_LABMAZE:
        command += f" && {install('--no-deps', DM_CONTROL)}"
    return command


def rebuild(*, cuda: bool = False) -> str:
    """Returns the command that builds and installs planet's compiled extension (anew).

    Args:
      cuda: with the CUDA kernels.
    """
    setting = "PLANET_CUDA=ON" if cuda else ""
    found = origin()
    # A wheel that was built elsewhere cannot be built anew, but put back.
    if found.kind == "unknown" or (found.kind == "file" and cuda):
        return _ELSEWHERE + _command(["--force-reinstall", "--no-deps", "."], setting)
    words = ["--force-reinstall", "--no-deps"] if _distribution() else []
    if found.kind == "name":
        words += ["--no-binary", PROJECT]
    requirement = f"{PROJECT} @ {found.requirement}" if found.kind == "url" else _short(found)
    return _command([*words, *_editable(found), shlex.quote(requirement)], setting)


def system_packages(*names: str) -> str:
    """Returns the command that installs packages of Debian or Ubuntu."""
    where = "" if shutil.which("apt-get") else "on Debian and Ubuntu: "
    sudo = "" if os.geteuid() == 0 else "sudo "
    command = f"{sudo}apt-get install -y --no-install-recommends {' '.join(names)}"
    return f"{where}{sudo}apt-get update && {command}"


def python() -> str:
    """Returns how a shell calls this interpreter."""
    names = [name for name in ("python", "python3") if shutil.which(name) == sys.executable]
    return names[0] if names else shlex.quote(sys.executable or "python3")


def program() -> str:
    """Returns how a shell calls planet's command line: `planet`, where that is this planet's."""
    found = shutil.which("planet")
    started = Path((sys.argv or [""])[0])  # `__main__.py` where `python -m planet` was given
    if found is not None and started.name != "__main__.py":
        ours = {sysconfig.get_path("scripts"), os.path.dirname(sys.executable)}
        if os.path.dirname(found) in ours or (started.exists() and started.samefile(found)):
            return "planet"
    if started.name == "planet" and started.exists():  # a script that is not on the PATH
        return shlex.quote(str(started))
    return f"{python()} -m planet"


def with_program(text: str) -> str:
    """Returns a help text whose lines call planet's command line as this shell does."""
    return re.sub(r"^(usage: | +)planet(?= )", lambda line: line[1] + program(), text, flags=re.M)


def _command(words: Iterable[str], setting: str = "") -> str:
    """Calls the installer of this Python with `words`; `setting` is an environment variable."""
    before, installer = _installer()
    return " ".join(filter(None, [before, setting, installer, *words]))


def _installer() -> tuple[str, str]:
    """Finds the command that installs into this Python, after what has to run before it."""
    own = sys.prefix != sys.base_prefix  # a virtual environment
    if not own and os.path.exists(Path(sysconfig.get_path("stdlib")) / "EXTERNALLY-MANAGED"):
        return f"{python()} -m venv .venv &&", ".venv/bin/pip install"
    if importlib.util.find_spec("pip") is not None:
        pip = shutil.which("pip")
        if own and pip is not None and os.path.dirname(pip) == os.path.dirname(sys.executable):
            return "", "pip install"
        return "", f"{python()} -m pip install"
    if shutil.which("uv"):
        return "", f"uv pip install --python {shlex.quote(sys.executable)}"
    return f"{python()} -m ensurepip &&", f"{python()} -m pip install"


def _distribution() -> importlib.metadata.Distribution | None:
    try:
        return importlib.metadata.distribution(PROJECT)
    except importlib.metadata.PackageNotFoundError:
        return None


def _noted_origin() -> Origin:
    distribution = _distribution()
    if distribution is None:
        return Origin("", "unknown")
    text = distribution.read_text("direct_url.json")
    if not text:  # installed by name, from whichever index the user has
        return Origin(PROJECT, "name")
    try:
        return _read_origin(json.loads(text))
    except (ValueError, KeyError, TypeError, AttributeError):  # not as installers write it
        return Origin("", "unknown")


def _read_origin(noted: dict[str, Any]) -> Origin:
    url = str(noted["url"])
    if "vcs_info" in noted:
        vcs = noted["vcs_info"]
        return Origin(f"{vcs['vcs']}+{url}@{vcs['commit_id']}", "url")
    if not url.startswith("file:"):
        return Origin(url, "url")
    path = Path(url2pathname(urlsplit(url).path))
    if "dir_info" not in noted:
        return Origin(str(path), "file") if path.exists() else Origin("", "unknown")
    if not (path / "pyproject.toml").exists():  # such as a clone that was removed since
        return Origin("", "unknown")
    return Origin(str(path), "editable" if noted["dir_info"].get("editable") else "folder")


def packages_of(extra: str) -> list[str]:
    """Lists the packages of an extra, as the installed metadata name them."""
    distribution, packages = _distribution(), []
    for requirement in (distribution.requires if distribution else None) or []:
        package, _, marker = (part.strip() for part in requirement.partition(";"))
        wanted = re.fullmatch(rf"(.*?)(?: and )?extra == ['\"]{extra}['\"]", marker)
        if wanted:
            condition = wanted[1].strip().removeprefix("(").removesuffix(")")
            packages.append(f"{package}; {condition}" if condition else package)
    return packages


def _short(found: Origin) -> str:
    """Shortens the requirement to "." where the user stands in that folder."""
    try:
        inside = found.kind in ("folder", "editable") and os.getcwd() == found.requirement
    except FileNotFoundError:  # the folder in which the user stands was removed
        inside = False
    return "." if inside else found.requirement


def _editable(found: Origin) -> list[str]:
    return ["-e"] if found.kind == "editable" else []
