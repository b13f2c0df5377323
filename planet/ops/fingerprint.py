"""Hashes the sources of the compiled extension: two copies with one hash build the same ops.

The build runs this file as a script and compiles the hash into the extension, for
`planet.ops.extension` to compare with that of a source folder. Needs the standard library alone.
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
from pathlib import Path

MARK = "planet-sources:"
"""Stands before the hash in the extension's file, so that it is found without loading the file."""

_CODE = (".h", ".inc", ".cpp", ".cu", ".cuh", "CMakeLists.txt")
_ENDINGS = {"csrc": _CODE, "bindings": _CODE, "cmake": (".cmake",)}


def source_files(root: Path) -> list[str]:
    """Lists the files that decide what is built, relative to `root`, with forward slashes, sorted.

    Whatever else lies beside them does not count: build products, caches, files of editors.
    """
    found = ["CMakeLists.txt"]
    for folder, endings in _ENDINGS.items():
        for place, _, names in os.walk(root / folder):
            relative = Path(place).relative_to(root)
            sources = [n for n in names if n.endswith(endings) and not n.startswith((".", "#"))]
            found += [(relative / name).as_posix() for name in sources]
    return sorted(found)


def fingerprint(root: Path) -> str:
    """Hashes names and contents of the sources in `root`: 16 hexadecimal digits.

    Where the folder lies, times, modes and the form of line ends do not count.

    Raises:
      OSError: a source cannot be read.
    """
    whole = hashlib.sha256()
    for name in source_files(root):
        content = (root / name).read_bytes().replace(b"\r\n", b"\n")
        whole.update(f"{name} {len(content)}\n".encode())
        whole.update(content)
    return whole.hexdigest()[:16]


def compiled_fingerprint(extension: Path) -> str | None:
    """Reads the hash out of an extension's file; None where it holds none."""
    found = re.search(MARK.encode() + rb"([0-9a-f]{16})\0", extension.read_bytes())
    return None if found is None else found[1].decode()


def _write_header(root: Path, header: Path) -> None:
    """Writes the header that the build compiles; an equal one keeps its time."""
    text = f'#define PLANET_SOURCES "{MARK}{fingerprint(root)}"\n'
    if not header.exists() or header.read_text() != text:
        header.parent.mkdir(parents=True, exist_ok=True)
        header.write_text(text)


if __name__ == "__main__":
    _write_header(Path(sys.argv[1]), Path(sys.argv[2]))
