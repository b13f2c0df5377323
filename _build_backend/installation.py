"""Looks from inside a build environment at the one that the installer installs into.

pip, uv, pipx and `python -m build` run a build in an environment of their own and do not tell it
for which one. The installer is this process's parent: its interpreter, options and variables say it
(Linux, /proc).
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_OPTIONS = {
    "--python": "interpreter",  # uv, pip, pipx
    "-p": "interpreter",
    "--target": "folder",  # uv, pip
    "-t": "folder",
}
_ASK = "import importlib.util as u; s = u.find_spec('torch'); print((s and s.origin) or '')"


@dataclass(frozen=True)
class _Process:
    program: str  # of the file that runs, as in "python3.11"
    arguments: list[str]
    variables: dict[str, str]
    folder: Path
    parent: int

    def resolve(self, program: str) -> Path | None:
        """Finds a program as this process names it."""
        if "/" in program:
            return self.folder / program
        found = shutil.which(program, path=self.variables.get("PATH"))
        return Path(found) if found else None


def torch_folders() -> Iterator[Path]:
    """Yields `torch/include` of each environment the installer speaks of, likeliest first."""
    for process in _installers():
        interpreters: list[Path | None] = []
        for kind, value in _options(process.arguments):
            if kind == "folder":
                yield process.folder / value / "torch" / "include"
            else:
                interpreters += [process.resolve(value), process.resolve(f"python{value}")]
                interpreters.append(process.folder / value / "bin" / "python")
        if process.program.startswith("python"):
            interpreters.append(process.resolve(process.arguments[0]))
        else:
            places = [process.variables.get(name) for name in ("VIRTUAL_ENV", "CONDA_PREFIX")]
            folders = [place for place in places if place]
            folders += [str(f / ".venv") for f in (process.folder, *process.folder.parents)]
            interpreters += [process.folder / folder / "bin" / "python" for folder in folders]
            names = [process.variables.get("UV_PYTHON", "")]
            if "--system" in process.arguments or "UV_SYSTEM_PYTHON" in process.variables:
                names += ["python3", "python"]
            interpreters += [process.resolve(name) for name in names]
        for interpreter in interpreters:
            if interpreter is not None and interpreter.is_file():
                yield from _torch_of(interpreter, process)


def _installers() -> Iterator[_Process]:
    """Yields the processes above this one, as long as they are Python or uv."""
    process = _read(os.getppid())
    while process is not None and process.program.startswith(("python", "uv")):
        yield process
        process = _read(process.parent)


def _read(pid: int) -> _Process | None:
    folder = Path("/proc") / str(pid)
    try:
        arguments = os.fsdecode((folder / "cmdline").read_bytes()).split("\0")[:-1]
        variables = os.fsdecode((folder / "environ").read_bytes()).split("\0")
        stat = (folder / "stat").read_text(errors="replace")
        return _Process(
            program=Path(os.readlink(folder / "exe")).name,
            arguments=arguments or [""],
            variables=dict(v.split("=", 1) for v in variables if "=" in v),
            folder=Path(os.readlink(folder / "cwd")),
            parent=int(stat.rpartition(")")[2].split()[1]),
        )
    except (OSError, ValueError, IndexError):
        return None  # no /proc, or another user's process


def _options(arguments: list[str]) -> Iterator[tuple[str, str]]:
    for argument, following in zip(arguments, [*arguments[1:], ""], strict=True):
        name, equals, value = argument.partition("=")
        if name in _OPTIONS and (value or following):
            yield _OPTIONS[name], value if equals else following


def _torch_of(interpreter: Path, process: _Process) -> Iterator[Path]:
    """Yields the torch that an interpreter would import for that process."""
    try:
        done = subprocess.run(
            [interpreter, "-c", _ASK],
            env=process.variables, cwd="/", capture_output=True, check=False,
        )  # fmt: skip
    except OSError:
        return
    lines = os.fsdecode(done.stdout).splitlines()
    if done.returncode == 0 and lines and lines[-1]:
        yield Path(lines[-1]).parent / "include"
