"""Frames a file's content: magic, version, length, checksum, and the words for what is wrong.

Every file starts with the magic of its kind (8 bytes) and the version of its format (uint32), and
nothing in it escapes a CRC-32 (uint32, zlib's). Numbers are little-endian. A sealed file also has
its own length in the bytes 16 to 24 (uint64), and ends with the checksum of all bytes before.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from planet.errors.listing import short
from planet.storage.atomic import atomic_write, named_errors

CHECKSUM = struct.Struct("<I")
_LENGTH = struct.Struct("<16xQ")
# What Python raises over content that somebody made up.
_ODD = (ArithmeticError, LookupError, RecursionError, RuntimeError, TypeError, ValueError)


class FileError(ValueError):
    """Refuses a file whose content is not as its reader expects.

    Attributes:
      path: the file.
      reason: what is wrong with it.
      damaged: whether the bytes are other ones than were written.
    """

    def __init__(self, path: Path, reason: str, damaged: bool = False) -> None:
        reason = short(reason, 1000)  # whatever a file holds
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason
        self.damaged = damaged


class DamageError(ValueError):
    """Says that bytes are missing, changed or too many."""


@contextmanager
def refused_as(error: type[FileError], path: Path) -> Iterator[None]:
    """Lets errors of the block name the file; a ValueError becomes an `error`."""
    try:
        with named_errors(path):
            yield
    except FileError:
        raise
    except ValueError as wrong:
        reason = str(wrong).removeprefix(f"{path}: ")
        raise error(path, reason, isinstance(wrong, DamageError)) from wrong


@contextmanager
def understood(part: str) -> Iterator[None]:
    """Raises ValueError where intact content makes no sense, whatever the block raises over it."""
    try:
        yield
    except _ODD as error:
        raise ValueError(f"{part} cannot be understood: {error!r}") from error


@dataclass(frozen=True)
class Format:
    """Describes the start of a kind of file.

    Attributes:
      name: of the kind of file.
      magic: its first 8 bytes.
      header_bytes: at the start of every file, without the checksum.
      oldest: version that this release still reads.
      newest: version that it writes.
    """

    name: str
    magic: bytes
    header_bytes: int
    oldest: int
    newest: int

    @property
    def least(self) -> int:
        """Bytes of the smallest file: header and checksum."""
        return self.header_bytes + CHECKSUM.size

    def check_start(self, start: bytes | bytearray, size: int) -> None:
        """Checks magic and version, given `least` bytes or more of a file of `size` bytes.

        Raises:
          DamageError: the file is of another kind, or too short.
          ValueError: the format is one that this release does not read.
        """
        if not start.startswith(self.magic):
            magic = self.magic.decode()
            raise DamageError(f"magic: expected {magic}, got no {self.name} ({size} bytes)")
        version = int.from_bytes(start[8:12], "little") if size >= 12 else self.newest
        if version > self.newest:
            raise ValueError(
                f"version: written by a newer planet (format {version}, this one reads up to "
                f"{self.newest})"
            )
        check_least(self.least, size)
        check_range("version", version, self.oldest, self.newest)

    def check_sealed(self, content: bytes | bytearray) -> None:
        """Checks the start, the length and the checksum of a sealed file's content."""
        self.check_start(content, len(content))
        check_length(_LENGTH.unpack_from(content)[0], len(content))
        (stored,) = CHECKSUM.unpack_from(content, len(content) - CHECKSUM.size)
        check_checksum("checksum", stored, zlib.crc32(memoryview(content)[: -CHECKSUM.size]))


def check_least(least: int, size: int) -> None:
    """Checks that a file has the bytes that its start calls for."""
    if size < least:
        expected = f"at least {least} bytes"
        raise DamageError(f"length: expected {expected}, got {size}: the file is truncated")


def check_length(expected: int, size: int) -> None:
    """Compares the length that a file says it has with its size."""
    if size != expected:
        what = "truncated" if size < expected else "followed by other data"
        raise DamageError(f"length: expected {expected} bytes, got {size}: the file is {what}")


def check_checksum(name: str, stored: int, computed: int) -> None:
    """Compares the checksum in a file with that of its bytes."""
    if stored != computed:
        raise DamageError(f"{name}: expected {stored:08x}, got {computed:08x}: the file is damaged")


def check_range(name: str, value: int, least: int, most: int) -> None:
    """Checks a number of a header."""
    if not least <= value <= most:
        expected = f"{least}" if least == most else f"{least} to {most}"
        raise ValueError(f"{name}: expected {expected}, got {value}")


def write_sealed(path: Path | str, parts: Iterable[bytes | memoryview]) -> None:
    """Writes or replaces a file of these parts and the checksum over them."""
    checksum = 0
    with atomic_write(path) as file:
        for part in parts:
            checksum = zlib.crc32(part, checksum)
            file.write(part)
        file.write(CHECKSUM.pack(checksum))
