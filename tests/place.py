"""A place where a user stands, for tests of what messages propose there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from planet.errors import advice

EXTRA = "Provides-Extra: train\nRequires-Dist: tyro; extra == 'train'\n"
METADATA = f"Metadata-Version: 2.1\nName: planet-rl\nVersion: 0.1.0\n{EXTRA}"
# A project that pip can look at without a network: its metadata are there.
PYPROJECT = """\
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
[project]
name = "planet-rl"
version = "0.1.0"
[project.optional-dependencies]
train = ["tyro"]
"""
BACKEND = f"""\
import pathlib
def prepare_metadata_for_build_wheel(folder, config_settings=None):
    info = pathlib.Path(folder) / "planet_rl-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text({METADATA!r})
    (info / "WHEEL").write_text("Wheel-Version: 1.0\\nTag: py3-none-any\\n")
    return info.name
prepare_metadata_for_build_editable = prepare_metadata_for_build_wheel
build_wheel = build_editable = None
"""
STUB = """\
#!/bin/bash
printf '%s\\n' "$(basename "$0")" "PLANET_CUDA=$PLANET_CUDA" "$@" -- >> "$CALLS"
"""


class Place:
    """Stands for a user's place: a Python, what is on the PATH, how planet was installed."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.patch = folder, monkeypatch
        self.bin = folder / "env" / "bin"
        self.bin.mkdir(parents=True)
        self.stub("python", "planet")
        monkeypatch.setattr(sys, "executable", str(self.bin / "python"))
        monkeypatch.setattr(sys, "prefix", str(folder / "env"))
        monkeypatch.setattr(sys, "base_prefix", "/usr")
        monkeypatch.setattr(sys, "argv", [str(self.bin / "planet")])
        monkeypatch.setattr(advice, "_WITHOUT_LABMAZE", False)
        self.finds("pip")
        self.path(self.bin)
        self.installed(None)
        self.runs_from(folder / "site")

    def stub(self, *names: str, into: Path | None = None) -> None:
        for name in names:
            file = (into or self.bin) / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(STUB)
            file.chmod(0o755)

    def path(self, *folders: Path) -> None:
        self.patch.setenv("PATH", os.pathsep.join([*map(str, folders), "/usr/bin", "/bin"]))

    def finds(self, *modules: str) -> None:
        self.patch.setattr(advice.importlib.util, "find_spec", lambda name: name in modules or None)

    def installed(self, direct_url: dict[str, Any] | None, name: bool = False) -> None:
        """By an installer that noted `direct_url`, or by name, or not at all."""
        text = json.dumps(direct_url) if direct_url else None
        found = SimpleNamespace(
            read_text=lambda name: text,
            requires=["torch>=2.11", "tyro; extra == 'train'", "pytest>=8; extra == 'test'",
                      'mujoco<4,>=3.17; python_version < "3.20" and extra == "train"',
                      "dm_control>=1.0.50; extra == 'train'"],
        )  # fmt: skip
        self.patch.setattr(advice, "_distribution", lambda: found if direct_url or name else None)

    def runs_from(self, root: Path) -> None:
        self.patch.setattr(advice, "PACKAGE", root / "planet")

    def source(self, name: str) -> Path:
        """A source folder of planet."""
        root = self.folder / name
        for part in ("planet", "csrc", "bindings"):
            (root / part).mkdir(parents=True)
        (root / "pyproject.toml").write_text(PYPROJECT)
        (root / "backend.py").write_text(BACKEND)
        return root

    def run(self, command: str) -> list[list[str]]:
        """Pastes the command into a shell; returns what is called."""
        calls = self.folder / "calls"
        calls.write_text("")
        others = {k: v for k, v in os.environ.items() if not k.startswith("PLANET_")}
        subprocess.run(
            ["bash", "-euc", command],
            check=True,
            timeout=300,
            env=others | {"CALLS": str(calls)},
        )
        return [call.split("\n") for call in calls.read_text().split("\n--\n")[:-1]]
