"""Keeps rows in a file of JSON lines that a kill at any time leaves readable."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def read(path: Path) -> list[dict[str, Any]]:
    """Reads the rows of a file, none if there is no file; a line that was cut off is left out."""
    rows = []
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            continue
        if isinstance(row, dict):
            rows.append(row)
    return rows


def append(path: Path, row: Mapping[str, Any]) -> None:
    """Adds a row in one write that reaches the disk; one that was cut off before keeps its line."""
    with open(path, "a+b") as file:
        cut = False
        if file.tell():
            file.seek(-1, os.SEEK_END)
            cut = file.read(1) != b"\n"
        file.write(b"\n" * cut + json.dumps(row).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())
