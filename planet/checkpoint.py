"""One file that a run continues from: replaced atomically, read without running any code.

The file is what `torch.save` writes, followed by 16 bytes: magic b"PLANETCK", format version
(uint32) and the CRC-32 of everything before it (uint32), little-endian. torch's own reader
ignores the end and compares no checksums.
"""

from __future__ import annotations

import io
import pickle
import struct
import zlib
from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from planet.atomic import atomic_write, read_file

_MAGIC = b"PLANETCK"
_VERSION = 1
_ENDING = struct.Struct("<8sI")
_CHECKSUM = struct.Struct("<I")
_PLAIN_TYPES = (bool, int, float, str, type(None))


class CheckpointError(ValueError):
    """A checkpoint is damaged, cut short, newer than this release, or no checkpoint at all."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason


def save_checkpoint(path: Path | str, payload: dict[str, Any]) -> None:
    """Writes or replaces a checkpoint; a crash leaves the old content or the new, complete.

    Args:
      path: file to write; its directory must exist.
      payload: None, bool, int, float, str, tensors, and lists, tuples and dicts of them, e.g.
        `state_dict()`s, counters, random states and the run's settings as a dict. Tensors that
        are views are stored without the rest of their memory.

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
    """Reads a checkpoint with `weights_only=True`, after comparing its checksums.

    Args:
      path: checkpoint file.
      device: where the tensors go. Modules and optimizers copy from the CPU by themselves, and
        random states belong on the CPU, so the default suits most callers.

    Returns:
      The payload that was saved.

    Raises:
      FileNotFoundError: there is no such file.
      CheckpointError: the file is no intact checkpoint of a format this release reads; the
        message names the file and the reason.
    """
    path = Path(path)
    content = io.BytesIO(_intact_content(path))
    try:
        payload: dict[str, Any] = torch.load(content, map_location=device, weights_only=True)
    except (RuntimeError, pickle.UnpicklingError) as error:
        reason = str(error).partition("\n")[0]
        raise CheckpointError(path, f"cannot be read: {reason}") from error
    return payload


def _intact_content(path: Path) -> bytes:
    """Returns what torch.save wrote, after comparing the checksum."""
    content = read_file(path)
    size = len(content) - _ENDING.size - _CHECKSUM.size
    magic, version = _ENDING.unpack_from(content, size) if size >= 0 else (b"", 0)
    if magic != _MAGIC:
        raise CheckpointError(path, f"is truncated or no checkpoint ({len(content)} bytes)")
    if version != _VERSION:
        newer = "is newer than" if version > _VERSION else "is not"
        raise CheckpointError(
            path, f"format version {version} {newer} the one this release reads ({_VERSION})"
        )
    if (
        zlib.crc32(memoryview(content)[: -_CHECKSUM.size])
        != _CHECKSUM.unpack(content[-_CHECKSUM.size :])[0]
    ):
        raise CheckpointError(path, "checksum does not match")
    return content[:size]


def _plain(name: str, value: object) -> Any:
    """Returns `value` ready for writing, or raises TypeError naming what cannot be stored."""
    if type(value) in (dict, OrderedDict):
        assert isinstance(value, dict)
        for key in value:
            if type(key) not in (str, int):
                raise TypeError(f"{name}: expected keys of type str or int, got {key!r}")
        return {key: _plain(f"{name}[{key!r}]", item) for key, item in value.items()}
    if type(value) in (list, tuple):
        assert isinstance(value, (list, tuple))
        items = [_plain(f"{name}[{index}]", item) for index, item in enumerate(value)]
        return items if isinstance(value, list) else tuple(items)
    if type(value) in (Tensor, torch.nn.Parameter):
        assert isinstance(value, Tensor)
        return _compact(value)
    if type(value) in _PLAIN_TYPES:
        return value
    raise TypeError(
        f"{name}: expected None, bool, int, float, str, a tensor, or a list, tuple or dict of "
        f"them, got {type(value).__module__}.{type(value).__qualname__}"
    )


def _compact(tensor: Tensor) -> Tensor:
    """Returns the tensor without gradient and without memory beyond its own elements."""
    tensor = tensor.detach()
    own = tensor.numel() * tensor.element_size()
    return tensor.clone() if tensor.untyped_storage().nbytes() > own else tensor
