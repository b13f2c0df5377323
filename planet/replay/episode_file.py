"""Writes and reads an episode as one file, in which any chunk lies at a known offset.

    bytes        content
    0  .. 8      magic b"PLANETEP"
    8  .. 12     format version, uint32
    12 .. 16     length L of the header text, uint32
    16 .. 20     CRC-32 of bytes 0..16 and of the header text, uint32
    20 .. 20+L   header text: JSON with length, arrays, total_reward, metadata
    then         the arrays, in the order in which the header lists them

The header has the name, dtype, shape of an entry and CRC-32 of every array: reward, action,
terminated, and the observations by their names. Numbers are little-endian, arrays row-major with
nothing between or after them, so every byte is covered by the magic, a checksum or the file's size.
Chunks are read with `preadv` rather than through a memory map: mapped pages count as the process's
memory.

Format 1, which is read and never written, has one image and no array `terminated`: its header says
whether the last entry is.
"""

from __future__ import annotations

import json
import os
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from planet.replay.episode import Episode, check_layout
from planet.replay.episode_info import EpisodeInfo, StoredArray
from planet.storage import framed
from planet.storage.atomic import atomic_write, named_errors, open_regular

_PREFIX = struct.Struct("<8sII")  # magic, version, bytes of the header text
_FORMAT = framed.Format("episode file", b"PLANETEP", _PREFIX.size, oldest=1, newest=2)
_BLOCK_BYTES = 1 << 20  # verification reads this much at a time, to stay small in memory


class CorruptEpisodeError(framed.FileError):
    """Says that an episode file is damaged, cut short, newer than this release, or none at all."""


def write_episode(path: Path | str, episode: Episode) -> EpisodeInfo:
    """Writes or replaces an episode file of format 2; returns its header.

    A crash leaves the old content or the new, complete. The file's directory must exist.

    Raises:
      OSError: the file cannot be written; an existing one stays as it was.
    """
    path = Path(path)
    arrays = {
        name: np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
        for name, array in episode.arrays.items()
    }
    header = {
        "length": episode.length,
        "arrays": [
            {"name": name, "dtype": str(episode.arrays[name].dtype), "shape": array.shape[1:],
             "checksum": zlib.crc32(array.data)}
            for name, array in arrays.items()
        ],
        "total_reward": episode.total_reward,
        "metadata": episode.metadata,
    }  # fmt: skip
    text = json.dumps(header, allow_nan=False).encode()
    prefix = _PREFIX.pack(_FORMAT.magic, _FORMAT.newest, len(text))
    checksum = zlib.crc32(text, zlib.crc32(prefix))
    with atomic_write(path) as file:
        file.write(prefix + framed.CHECKSUM.pack(checksum) + text)
        for array in arrays.values():
            file.write(array.data)
    return _parse_header(path, _FORMAT.newest, text, checksum)


def read_info(path: Path | str) -> EpisodeInfo:
    """Reads and checks the header of an episode file, and the file's size.

    Raises:
      CorruptEpisodeError: the file is no intact episode of a format this release reads.
      OSError: the file cannot be opened.
    """
    path = Path(path)
    with framed.refused_as(CorruptEpisodeError, path), open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        start = file.read(_FORMAT.least)
        _FORMAT.check_start(start, size)
        _, version, text_bytes = _PREFIX.unpack_from(start)
        framed.check_least(_FORMAT.least + text_bytes, size)
        text = file.read(text_bytes)
        checksum = zlib.crc32(text, zlib.crc32(start[: _PREFIX.size]))
        (stored,) = framed.CHECKSUM.unpack_from(start, _PREFIX.size)
        framed.check_checksum("checksum of the header", stored, checksum)
        info = _parse_header(path, version, text, checksum)
        framed.check_length(info.file_bytes, size)
    return info


def verify_episode(path: Path | str) -> EpisodeInfo:
    """Reads the whole file in small blocks and compares every checksum; returns its header.

    Raises:
      CorruptEpisodeError: the file is damaged; the message names the file and what does not match.
      OSError: the file cannot be opened.
    """
    info = read_info(path)
    with framed.refused_as(CorruptEpisodeError, info.path), open(info.path, "rb") as file:
        for name, array in info.arrays.items():
            file.seek(array.offset)
            checksum, left = 0, info.length * array.entry_bytes
            while block := file.read(min(left, _BLOCK_BYTES)):
                checksum, left = zlib.crc32(block, checksum), left - len(block)
            framed.check_checksum(f"checksum of {name}", array.checksum, checksum)
    return info


def read_episode(path: Path | str) -> Episode:
    """Reads a whole episode and compares every checksum; raises as `verify_episode` does."""
    info = read_info(path)
    arrays = read_chunk(info, 0, info.length)
    with framed.refused_as(CorruptEpisodeError, info.path):
        for name, stored in info.arrays.items():
            computed = zlib.crc32(arrays[name].data)
            framed.check_checksum(f"checksum of {name}", stored.checksum, computed)
        with framed.understood("episode"):
            return Episode.of_arrays(arrays, info.metadata)


def read_chunk(info: EpisodeInfo, start: int, length: int) -> dict[str, npt.NDArray[Any]]:
    """Reads T = `length` entries from `start` on and nothing else; compares no checksums.

    Returns:
      Arrays [T, ...] by name, as `Episode.arrays` has them.

    Raises:
      ValueError: the range leaves the episode.
      CorruptEpisodeError: the file has become shorter since the header was read.
      OSError: the file cannot be opened.
    """
    if length < 1 or start < 0 or start + length > info.length:
        raise ValueError(
            f"start, length: expected a range within [0, {info.length}), "
            f"got [{start}, {start + length})"
        )
    read: dict[str, npt.NDArray[Any]] = {}
    descriptor = os.open(info.path, os.O_RDONLY)
    try:
        with named_errors(info.path):
            for name, stored in info.arrays.items():
                dtype = np.dtype(stored.dtype).newbyteorder("<")
                read[name] = array = np.empty((length, *stored.shape), dtype)
                offset = stored.offset + start * stored.entry_bytes
                _read_exactly(descriptor, array.reshape(-1).view(np.uint8).data, offset, info)
    finally:
        os.close(descriptor)
    if info.ended is not None:
        ended = info.ended and start + length == info.length
        read["terminated"] = np.arange(1, length + 1) == (length if ended else 0)
    return read


def _parse_header(path: Path, version: int, text: bytes, checksum: int) -> EpisodeInfo:
    with framed.understood("header"):
        header = json.loads(text)
        length, old = int(header["length"]), version == 1
        rows = _rows_of_format_1(header) if old else header["arrays"]
        arrays = _stored_arrays(rows, length, _FORMAT.least + len(text))
        needed = {"reward", "action"} if old else {"reward", "action", "terminated"}
        if not needed < arrays.keys() or len(arrays) < len(rows):
            raise ValueError(f"arrays {[*arrays]}")
        return EpisodeInfo(
            path=path,
            length=length,
            arrays=arrays,
            ended=bool(header["terminated"]) if old else None,
            total_reward=float(header["total_reward"]),
            metadata=dict(header["metadata"]),
            checksum=checksum,
        )


def _stored_arrays(rows: list[dict[str, Any]], length: int, offset: int) -> dict[str, StoredArray]:
    arrays = {}
    for row in rows:
        name, dtype, shape = str(row["name"]), str(row["dtype"]), tuple(map(int, row["shape"]))
        check_layout(name, np.dtype(dtype), (length, *shape), length)
        arrays[name] = StoredArray(dtype, shape, int(row["checksum"]), offset)
        offset += length * arrays[name].entry_bytes
    return arrays


def _rows_of_format_1(header: dict[str, Any]) -> list[dict[str, Any]]:
    rows: tuple[tuple[str, str, list[int], str], ...] = (
        ("reward", "float32", [], "reward"),
        ("action", "float32", [header["action_size"]], "action"),
        ("image", "uint8", [*header["image_size"], 3], "observation"),
    )
    return [
        {"name": name, "dtype": dtype, "shape": shape, "checksum": header["checksums"][called]}
        for name, dtype, shape, called in rows
    ]


def _read_exactly(descriptor: int, target: memoryview, offset: int, info: EpisodeInfo) -> None:
    done = 0
    while done < len(target):
        count = os.preadv(descriptor, [target[done:]], offset + done)
        if count == 0:
            raise CorruptEpisodeError(info.path, f"truncated: ends before byte {offset + done}")
        done += count
