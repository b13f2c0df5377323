"""One file that a run continues from: replaced atomically, read without running any code.

The file is what `torch.save` writes, followed by 16 bytes: magic b"PLANETCK", format version
(uint32) and the CRC-32 of everything before it (uint32), little-endian. torch's own reader
ignores the end and compares no checksums; ours is `planet.tensor_archive`.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from planet.atomic import atomic_write, read_file
from planet.listing import short
from planet.tensor_archive import DTYPES, PLAIN_TYPES, read_archive

_MAGIC = b"PLANETCK"
_VERSION = 1
_ENDING = struct.Struct("<8sI")
_CHECKSUM = struct.Struct("<I")


class CheckpointError(ValueError):
    """A checkpoint is damaged, foreign, of another release, or no checkpoint at all.

    Attributes:
      path: the file.
      reason: what is wrong with it.
    """

    def __init__(self, path: Path, reason: str) -> None:
        reason = short(reason, 1000)  # whatever a file holds
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason


class DamagedCheckpointError(CheckpointError):
    """A checkpoint's bytes are not those that were written: it was cut short or changed."""


def save_checkpoint(path: Path | str, payload: dict[str, Any]) -> None:
    """Writes or replaces a checkpoint; a crash leaves the old content or the new, complete.

    Args:
      path: file to write; its directory must exist.
      payload: None, bool, int, float, str, tensors, and lists, tuples and dicts of them, e.g.
        `state_dict()`s, counters, random states and the run's settings as a dict. Tensors are
        real numbers of the usual types; views are stored without the rest of their memory.

    Raises:
      TypeError: the payload holds something else; the message names the key.
      OSError: the file cannot be written; an existing one stays as it was.
    """
    plain = _plain("payload", payload)
    content = io.BytesIO()
    torch.save(plain, content)
    content.write(_ENDING.pack(_MAGIC, _VERSION))
    content.write(_CHECKSUM.pack(zlib.crc32(content.getbuffer())))
    with atomic_write(Path(path)) as file:
        file.write(content.getbuffer())


def load_checkpoint(path: Path | str, device: torch.device | str = "cpu") -> dict[str, Any]:
    """Reads a checkpoint after comparing its checksum; whatever it holds, none of it is run.

    Args:
      path: checkpoint file.
      device: where the tensors go. Modules and optimizers copy from the CPU by themselves, and
        random states belong on the CPU, so the default suits most callers.

    Returns:
      The payload that was saved.

    Raises:
      FileNotFoundError: there is no such file.
      DamagedCheckpointError: the file was cut short or changed.
      CheckpointError: the file is no checkpoint of a format this release reads; the message
        names the file and the reason.
    """
    path = Path(path)
    try:
        return read_archive(_intact_content(path), device)
    except CheckpointError:
        raise
    except ValueError as error:
        raise CheckpointError(path, f"cannot be read: {error}") from error


def _intact_content(path: Path) -> bytes:
    """Returns what torch.save wrote, after comparing the checksum."""
    if path.exists() and not path.is_file():  # reading a named pipe would never end
        raise CheckpointError(path, "is no regular file")
    content = read_file(path)
    size = len(content) - _ENDING.size - _CHECKSUM.size
    magic, version = _ENDING.unpack_from(content, size) if size >= 0 else (b"", 0)
    if magic != _MAGIC:
        raise DamagedCheckpointError(path, f"is truncated or no checkpoint ({len(content)} bytes)")
    if version != _VERSION:
        newer = "is newer than" if version > _VERSION else "is not"
        raise CheckpointError(
            path, f"format version {version} {newer} the one this release reads ({_VERSION})"
        )
    checksum = zlib.crc32(memoryview(content)[: -_CHECKSUM.size])
    if checksum != _CHECKSUM.unpack(content[-_CHECKSUM.size :])[0]:
        raise DamagedCheckpointError(path, "checksum does not match")
    return content[:size]


def _plain(name: str, value: object) -> Any:
    """Returns `value` ready for writing, or raises TypeError naming what cannot be stored."""
    if isinstance(value, dict) and type(value) in (dict, OrderedDict):
        for key in value:
            if type(key) not in (str, int):
                raise TypeError(f"{name}: expected keys of type str or int, got {key!r}")
        return {key: _plain(f"{name}[{key!r}]", item) for key, item in value.items()}
    if isinstance(value, (list, tuple)) and type(value) in (list, tuple):
        items = [_plain(f"{name}[{index}]", item) for index, item in enumerate(value)]
        return items if isinstance(value, list) else tuple(items)
    if isinstance(value, Tensor) and type(value) in (Tensor, torch.nn.Parameter):
        if value.dtype not in DTYPES or value.layout != torch.strided or value.is_meta:
            raise TypeError(
                f"{name}: expected a dense tensor of {', '.join(map(str, DTYPES))}, "
                f"got {value.layout}, {value.dtype} on {value.device}"
            )
        return _compact(value)
    if type(value) in PLAIN_TYPES:
        return value
    raise TypeError(
        f"{name}: expected None, bool, int, float, str, a tensor, or a list, tuple or dict of "
        f"them, got {type(value).__module__}.{type(value).__qualname__}"
    )


def _compact(tensor: Tensor) -> Tensor:
    """Returns the tensor without gradient, with memory of as many elements as it has."""
    tensor = tensor.detach()
    own = tensor.numel() * tensor.element_size()
    return tensor.clone() if tensor.untyped_storage().nbytes() != own else tensor
