"""Says which planet runs: its version and, where it is known, its commit."""

from __future__ import annotations

import subprocess
from pathlib import Path

from planet.diagnostics.build import __version__
from planet.errors import advice

_SECONDS = 30.0  # that git may take


def source_facts() -> dict[str, str | None]:
    """Returns `version` and `commit`.

    The commit ends with "-dirty" where files of the source folder differ from it. It is None where
    planet neither runs from a clone nor was installed from a repository.
    """
    root = advice.source_folder()
    commit = _installed_commit() if root is None else _commit(root)
    return {"version": __version__, "commit": commit}


def _installed_commit() -> str | None:
    """Returns the commit that the installer noted."""
    found = advice.origin()
    if found.kind != "url" or not found.requirement.startswith("git+"):
        return None
    return found.requirement.rpartition("@")[2]


def _commit(root: Path) -> str | None:
    """Asks git; None where the folder is no clone or git does not answer."""
    if not (root / ".git").exists():
        return None
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40"]
    try:
        done = subprocess.run(
            [*command, "--exclude=*"], capture_output=True, text=True, timeout=_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None
