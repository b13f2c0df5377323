"""Replacing a file so that a reader sees the old content or the new one, never a part."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

TEMPORARY_SUFFIX = ".tmp"


@contextmanager
def atomic_write(path: Path) -> Iterator[BinaryIO]:
    """Opens a temporary file beside `path` and renames it to `path` when the block succeeds.

    The data reach the disk before the rename, and the rename before the block ends, so after a
    power cut the name holds the complete old or the complete new content. A process that is
    killed leaves `<name>.tmp`, which the next write of the same name reuses. One writer per name
    at a time.

    Args:
      path: file to create or replace; its directory must exist.

    Yields:
      The temporary file, open for writing bytes.

    Raises:
      OSError: the directory is missing, the disk is full, ...; `path` is as it was before.
    """
    temporary = path.with_name(path.name + TEMPORARY_SUFFIX)
    try:
        with open(temporary, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_directory(path.parent)


def _sync_directory(directory: Path) -> None:
    """Makes a rename in `directory` durable."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
