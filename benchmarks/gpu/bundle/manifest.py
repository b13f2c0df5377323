"""Describes a bundle: its files with sizes and hashes, what they are, and what is wrong with them.

Needs the standard library alone: it runs on the bare GPU machine before anything is unpacked.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

NAME = "manifest.json"
LIMIT = 50_000_000  # bytes of all files


class Oversize(Exception):
    """Says that a bundle is larger than what may travel, and names its largest files."""


def sources(root: Path) -> str:
    """Hashes what is compiled, with the checkout's own file: planet may not be importable here."""
    spec = importlib.util.spec_from_file_location(
        "fingerprint", root / "planet" / "ops" / "fingerprint.py"
    )
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return str(module.fingerprint(root))


def contents(bundle: Path) -> dict[str, dict[str, Any]]:
    """Reads sizes and hashes of all files but the manifest, by their path in the bundle."""
    paths = sorted(path for path in bundle.rglob("*") if path.is_file() and path.name != NAME)
    return {
        path.relative_to(bundle).as_posix(): {
            "bytes": path.stat().st_size,
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        }
        for path in paths
    }


def write(bundle: Path, root: Path, facts: Mapping[str, Any], limit: int = LIMIT) -> dict[str, Any]:
    """Writes the manifest.

    Args:
      bundle: the folder.
      root: of the checkout whose sources were compiled.
      facts: what else to say.
      limit: bytes that the files may have together.

    Raises:
      Oversize: they have more.
    """
    files = contents(bundle)
    total = sum(file["bytes"] for file in files.values())
    if total > limit:
        largest = sorted(files, key=lambda name: -files[name]["bytes"])[:3]
        raise Oversize(
            f"{bundle}: expected at most {limit / 1e6:.0f} MB, got {total / 1e6:.1f} MB; "
            f"the largest files: {', '.join(largest)}"
        )
    manifest = {**facts, "sources": sources(root), "bytes": total, "files": files}
    (bundle / NAME).write_text(json.dumps(manifest, indent=1) + "\n")
    return manifest


def commit(bundle: Path) -> str:
    """Reads which commit a bundle was made of."""
    return str(json.loads((bundle / NAME).read_text())["commit"])


def table(manifest: Mapping[str, Any]) -> str:
    """Lists the sizes of the files in MB, the largest first."""
    files = sorted(manifest["files"].items(), key=lambda item: -item[1]["bytes"])
    lines = [f"{file['bytes'] / 1e6:7.2f}  {name}" for name, file in files]
    return "\n".join([*lines, f"{manifest['bytes'] / 1e6:7.2f}  together, in MB"])


def serves(wheel: str, python: tuple[int, int]) -> bool:
    """Tells by a wheel's name whether a Python can load it."""
    version, abi = wheel.removesuffix(".whl").split("-")[-3:-1]
    for tag in version.split("."):
        found = re.fullmatch(r"(py|cp)(\d)(\d*)", tag)
        if found and int(found[2]) == python[0]:
            minor = int(found[3] or 0)
            if minor == python[1] or (minor <= python[1] and abi in ("none", "abi3")):
                return True
    return False


def problems(bundle: Path, root: Path, python: tuple[int, int]) -> dict[str, str]:
    """Finds what cannot be used, and why: files, `NAME` for the bundle, "planet" for its builds.

    Args:
      bundle: the folder.
      root: of the checkout that it shall serve.
      python: its version here.
    """
    try:
        manifest = json.loads((bundle / NAME).read_text())
    except (OSError, ValueError) as error:
        return {NAME: f"there is no bundle in {bundle} ({type(error).__name__})"}
    now, found = contents(bundle), {}
    for name, file in manifest["files"].items():
        if now.get(name) != file:
            found[name] = "is damaged" if name in now else "is missing"
        elif name.endswith(".whl") and not serves(Path(name).name, python):
            found[name] = f"is not for Python {python[0]}.{python[1]}"
    if manifest["sources"] != sources(root):
        found["planet"] = (
            f"was built from other sources than this checkout's ({manifest['commit']})"
        )
    return found
