"""Ends the process at its n-th operation on a file, before it or in the middle of a write."""

from __future__ import annotations

import builtins
import io
import mmap
import os
from typing import Any

KILLED = 137
_OPERATIONS = (
    "write", "pwrite", "writev", "fsync", "fdatasync", "replace", "rename", "link", "symlink",
    "unlink", "remove", "rmdir", "truncate", "ftruncate", "mkdir", "chmod", "fchmod",
)  # fmt: skip


class CrashPoints:
    """Counts what changes files or syncs them; `install` is called in the child.

    Args:
      last: number of the operation that is not done; None: all are.
      torn: where that is a write, its first half is done.
    """

    def __init__(self, last: int | None = None, torn: bool = False) -> None:
        self._last, self._torn = last, torn
        self._shared = mmap.mmap(-1, 8)  # the child counts, the parent reads

    @property
    def passed(self) -> int:
        """Counts the operations."""
        return int.from_bytes(self._shared[:8], "little")

    def install(self) -> None:
        """Puts itself between Python and the operating system."""
        for name in _OPERATIONS:
            setattr(os, name, self._counted(getattr(os, name), name == "write"))
        real = os.open

        def open_descriptor(path: Any, flags: int, *arguments: Any, **options: Any) -> int:
            if flags & (os.O_CREAT | os.O_TRUNC) and self.reached():
                os._exit(KILLED)
            return real(path, flags, *arguments, **options)

        os.open = open_descriptor  # type: ignore[assignment]
        self._install_files()

    def reached(self) -> bool:
        """Counts an operation; True where a write is to be torn. Ends the process at the last."""
        number = self.passed + 1
        self._shared[:8] = number.to_bytes(8, "little")
        if number != self._last:
            return False
        if self._torn:
            return True
        os._exit(KILLED)

    def _counted(self, operation: Any, writes: bool) -> Any:
        def counted(*arguments: Any, **options: Any) -> Any:
            if self.reached():
                if writes:
                    operation(arguments[0], arguments[1][: len(arguments[1]) // 2])
                os._exit(KILLED)
            return operation(*arguments, **options)

        return counted

    def _install_files(self) -> None:
        points, real = self, io.open

        class Counted(io.FileIO):
            def write(self, data: Any) -> int:
                if points.reached():
                    super().write(memoryview(data).cast("B")[: memoryview(data).nbytes // 2])
                    os._exit(KILLED)
                return super().write(data)

            def truncate(self, size: int | None = None) -> int:
                if points.reached():
                    os._exit(KILLED)
                return super().truncate(size)

        def open_file(file: Any, mode: str = "r", buffering: int = -1, *rest: Any, **more: Any):  # type: ignore[no-untyped-def]
            if not set(mode) & set("wax+"):
                return real(file, mode, buffering, *rest, **more)
            if not isinstance(file, int) and not set(mode) <= set("r+bt") and points.reached():
                os._exit(KILLED)
            raw = Counted(file, mode.replace("b", "").replace("t", ""))
            if buffering == 0:
                return raw
            buffered = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
            return buffered if "b" in mode else io.TextIOWrapper(buffered, *rest, **more)

        io.open = builtins.open = open_file  # type: ignore[assignment]
