"""Writes and reads an episode as one file, in which any chunk lies at a known offset.

    bytes        content
    0  .. 8      magic b"PLANETEP"
    8  .. 12     format version, uint32
    12 .. 16     length L of the header text, uint32
    16 .. 20     CRC-32 of bytes 0..16 and of the header text, uint32
    20 .. 20+L   header text: JSON with sizes, the arrays' CRC-32, terminated, return, metadata
    then         reward float32 [N+1], action float32 [N+1, A], observation uint8 [N+1, h, w, 3]

Numbers are little-endian, arrays row-major with nothing between or after them, so every byte is
covered by the magic, a checksum or the file's size. Chunks are read with `preadv` rather than
through a memory map: mapped pages count as the process's memory.
"""

from __future__ import annotations

import json
import math
import os
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from planet.replay.episode import Episode
from planet.storage import framed
from planet.storage.atomic import atomic_write, named_errors, open_regular

_PREFIX = struct.Struct("<8sII")  # magic, version, bytes of the header text
_FORMAT = framed.Format("episode file", b"PLANETEP", _PREFIX.size, oldest=1, newest=1)
_DTYPES: dict[str, np.dtype[Any]] = {  # in the order of the file
    "reward": np.dtype("<f4"),
    "action": np.dtype("<f4"),
    "observation": np.dtype("u1"),
}
_BLOCK_BYTES = 1 << 20  # verification reads this much at a time, to stay small in memory


class CorruptEpisodeError(framed.FileError):
    """Says that an episode file is damaged, cut short, newer than this release, or none at all."""


@dataclass(frozen=True)
class EpisodeInfo:
    """Holds the header of an episode file.

    Attributes:
      path: the file.
      length: entries N + 1 of the episode.
      image_size: height and width in pixels.
      action_size: A.
      terminated: whether the task ended itself.
      total_reward: sum of the rewards.
      metadata: JSON values stored with the episode.
      data_offset: bytes before the first array.
      checksums: CRC-32 of each array by name.
      checksum: CRC-32 of the header; episodes that differ in anything differ in it.
    """

    path: Path
    length: int
    image_size: tuple[int, int]
    action_size: int
    terminated: bool
    total_reward: float
    metadata: dict[str, Any]
    data_offset: int
    checksums: dict[str, int]
    checksum: int

    def entry_shape(self, name: str) -> tuple[int, ...]:
        """Returns the shape of one entry of array `name`."""
        if name == "observation":
            return (*self.image_size, 3)
        return (self.action_size,) if name == "action" else ()

    def entry_bytes(self, name: str) -> int:
        """Returns the size of one entry of array `name`."""
        return math.prod(self.entry_shape(name)) * _DTYPES[name].itemsize

    def array_offset(self, name: str) -> int:
        """Returns where in the file array `name` starts."""
        earlier = list(_DTYPES)[: list(_DTYPES).index(name)]
        return self.data_offset + self.length * sum(map(self.entry_bytes, earlier))

    @property
    def file_bytes(self) -> int:
        """Size of the whole file."""
        return self.array_offset("observation") + self.length * self.entry_bytes("observation")


def write_episode(path: Path | str, episode: Episode) -> EpisodeInfo:
    """Writes or replaces an episode file; returns its header.

    A crash leaves the old content or the new, complete. The file's directory must exist.

    Raises:
      OSError: the file cannot be written; an existing one stays as it was.
    """
    path = Path(path)
    arrays: dict[str, npt.NDArray[Any]] = {
        name: np.ascontiguousarray(getattr(episode, name), dtype=dtype)
        for name, dtype in _DTYPES.items()
    }
    header = {
        "length": episode.length,
        "image_size": list(episode.observation.shape[1:3]),
        "action_size": int(episode.action.shape[1]),
        "terminated": episode.terminated,
        "total_reward": episode.total_reward,
        "checksums": {name: zlib.crc32(array.data) for name, array in arrays.items()},
        "metadata": episode.metadata,
    }
    text = json.dumps(header, allow_nan=False).encode()
    prefix = _PREFIX.pack(_FORMAT.magic, _FORMAT.newest, len(text))
    checksum = zlib.crc32(text, zlib.crc32(prefix))
    with atomic_write(path) as file:
        file.write(prefix + framed.CHECKSUM.pack(checksum) + text)
        for array in arrays.values():
            file.write(array.data)
    return _parse_header(path, text, checksum)


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
        _, _, text_bytes = _PREFIX.unpack_from(start)
        framed.check_least(_FORMAT.least + text_bytes, size)
        text = file.read(text_bytes)
        checksum = zlib.crc32(text, zlib.crc32(start[: _PREFIX.size]))
        (stored,) = framed.CHECKSUM.unpack_from(start, _PREFIX.size)
        framed.check_checksum("checksum of the header", stored, checksum)
        info = _parse_header(path, text, checksum)
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
        file.seek(info.data_offset)
        for name in _DTYPES:
            checksum, left = 0, info.length * info.entry_bytes(name)
            while block := file.read(min(left, _BLOCK_BYTES)):
                checksum, left = zlib.crc32(block, checksum), left - len(block)
            framed.check_checksum(f"checksum of {name}", info.checksums[name], checksum)
    return info


def read_episode(path: Path | str) -> Episode:
    """Reads a whole episode and compares every checksum; raises as `verify_episode` does."""
    info = read_info(path)
    observation, action, reward = read_chunk(info, 0, info.length)
    with framed.refused_as(CorruptEpisodeError, info.path):
        for name, array in (("reward", reward), ("action", action), ("observation", observation)):
            computed = zlib.crc32(array.data)
            framed.check_checksum(f"checksum of {name}", info.checksums[name], computed)
        with framed.understood("episode"):
            return Episode(observation, action, reward, info.terminated, info.metadata)


def read_chunk(
    info: EpisodeInfo, start: int, length: int
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Reads T = `length` entries from `start` on and nothing else; compares no checksums.

    Returns:
      observation uint8 [T, h, w, 3], action float32 [T, A], reward float32 [T].

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
    observation = np.empty((length, *info.entry_shape("observation")), np.uint8)
    action = np.empty((length, info.action_size), np.float32)
    reward = np.empty((length,), np.float32)
    descriptor = os.open(info.path, os.O_RDONLY)
    try:
        for name, array in (("observation", observation), ("action", action), ("reward", reward)):
            offset = info.array_offset(name) + start * info.entry_bytes(name)
            _read_exactly(descriptor, array.reshape(-1).view(np.uint8).data, offset, info)
    finally:
        os.close(descriptor)
    return observation, action, reward


def _parse_header(path: Path, text: bytes, checksum: int) -> EpisodeInfo:
    with framed.understood("header"):
        header = json.loads(text)
        height, width = header["image_size"]
        if min(height, width, header["length"], header["action_size"]) < 1:
            raise ValueError(f"sizes below 1 in {header}")
        return EpisodeInfo(
            path=path,
            length=int(header["length"]),
            image_size=(int(height), int(width)),
            action_size=int(header["action_size"]),
            terminated=bool(header["terminated"]),
            total_reward=float(header["total_reward"]),
            metadata=dict(header["metadata"]),
            data_offset=_FORMAT.least + len(text),
            checksums={name: int(header["checksums"][name]) for name in _DTYPES},
            checksum=checksum,
        )


def _read_exactly(descriptor: int, target: memoryview, offset: int, info: EpisodeInfo) -> None:
    done = 0
    while done < len(target):
        with named_errors(info.path):
            count = os.preadv(descriptor, [target[done:]], offset + done)
        if count == 0:
            raise CorruptEpisodeError(info.path, f"truncated: ends before byte {offset + done}")
        done += count
