"""Says which planet runs: its version and, where it is known, its commit."""

from __future__ import annotations

import filecmp
import subprocess
from pathlib import Path

from planet.diagnostics.build import __version__, build_info
from planet.errors import advice
from planet.ops.fingerprint import fingerprint

_SECONDS = 30.0  # that git may take


def source_facts() -> dict[str, str | None]:
    """Returns `version` and `commit`.

    The commit ends with "-dirty" where files of the source folder differ from it. It is None where
    planet neither runs from a clone nor was installed from a repository, or from a clone whose
    sources are other ones now.
    """
    root = advice.source_folder()
    commit = _installed_commit() if root is None else _commit(root)
    return {"version": __version__, "commit": commit}


def _installed_commit() -> str | None:
    """Returns the commit that the installer noted, or of the clone that it installed from."""
    found = advice.origin()
    if found.kind == "url" and found.requirement.startswith("git+"):
        return found.requirement.rpartition("@")[2]
    root = Path(found.requirement)
    return _commit(root) if found.kind == "folder" and _has_our_sources(root) else None


def _has_our_sources(root: Path) -> bool:
    """Whether a folder has the Python files of this package, and what its extension is made of."""
    here, there = advice.PACKAGE, root / "planet"
    files = [str(file.relative_to(here)) for file in here.rglob("*.py")]
    same, _, _ = filecmp.cmpfiles(here, there, files, shallow=False)
    built = build_info().get("fingerprint")
    return len(same) == len(files) and (built is None or built == fingerprint(root))


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
