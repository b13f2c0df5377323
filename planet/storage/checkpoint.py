"""Writes and reads the one file that a run continues from; reading it runs no code.

Format 2 is a sealed file (`planet.storage.framed`), which holds

    bytes        content
    12 .. 16     length L of the text, uint32
    24 .. 24+L   text: the payload as JSON
    then         the tensors, row-major, in the order of the text, with nothing between them

In the text, what JSON lacks is an object of one key: {"dict": [[key, value], ...]},
{"tuple": [...]} and {"tensor": [dtype, shape]}.
"""

from __future__ import annotations

import json
import math
import struct
from collections import OrderedDict
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from planet.storage import framed
from planet.storage.atomic import read_file

_HEADER = struct.Struct("<8sIIQ")  # magic, version, bytes of the text, bytes of the file
_FORMAT = framed.Format("checkpoint", b"PLANETCK", _HEADER.size, oldest=2, newest=2)
_PLAIN_TYPES = (bool, int, float, str, type(None))
_DTYPES = {
    str(dtype).removeprefix("torch."): dtype
    for dtype in (
        torch.float64, torch.float32, torch.float16, torch.bfloat16,
        torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool,
    )
}  # fmt: skip


class CheckpointError(framed.FileError):
    """Refuses a checkpoint that is damaged, foreign, of another release, or none at all."""


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
    tensors: list[Tensor] = []
    text = json.dumps(_encoded("payload", payload, tensors)).encode()
    size = _FORMAT.least + len(text) + sum(t.numel() * t.element_size() for t in tensors)
    header = _HEADER.pack(_FORMAT.magic, _FORMAT.newest, len(text), size)
    framed.write_sealed(path, chain((header, text), map(_bytes, tensors)))


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
      CheckpointError: the file is damaged, or no checkpoint of a format that this release reads;
        the message names the file and the reason.
    """
    with framed.refused_as(CheckpointError, Path(path)):
        content = read_file(path)
        if content.startswith(b"PK\3\4"):  # torch.save's archives
            raise ValueError("version: written by an older planet (format 1, this one reads 2)")
        _FORMAT.check_sealed(content)
        with framed.understood("content"):
            return _Decoder(content, device).payload()


def _encoded(name: str, value: object, tensors: list[Tensor]) -> Any:
    """Returns `value` as JSON knows it, and adds its tensors to the list.

    Raises:
      TypeError: the value cannot be stored; the message names it.
    """
    if isinstance(value, dict) and type(value) in (dict, OrderedDict):
        for key in value:
            if type(key) not in (str, int):
                raise TypeError(f"{name}: expected keys of type str or int, got {key!r}")
        pairs = ([k, _encoded(f"{name}[{k!r}]", item, tensors)] for k, item in value.items())
        return {"dict": list(pairs)}
    if isinstance(value, (list, tuple)) and type(value) in (list, tuple):
        items = [_encoded(f"{name}[{i}]", item, tensors) for i, item in enumerate(value)]
        return items if isinstance(value, list) else {"tuple": items}
    if isinstance(value, Tensor) and type(value) in (Tensor, torch.nn.Parameter):
        if value.dtype not in _DTYPES.values() or value.layout != torch.strided or value.is_meta:
            raise TypeError(
                f"{name}: expected a dense tensor of {', '.join(_DTYPES)}, "
                f"got {value.layout}, {value.dtype} on {value.device}"
            )
        tensors.append(value)
        return {"tensor": [str(value.dtype).removeprefix("torch."), list(value.shape)]}
    if type(value) in _PLAIN_TYPES:
        return value
    raise TypeError(
        f"{name}: expected None, bool, int, float, str, a tensor, or a list, tuple or dict of "
        f"them, got {type(value).__module__}.{type(value).__qualname__}"
    )


def _bytes(tensor: Tensor) -> memoryview:
    """Shows a tensor's memory, or that of a copy where it is not contiguous and on the CPU."""
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data


class _Decoder:
    """Makes the payload of intact content, which anybody may have written."""

    def __init__(self, content: bytes, device: torch.device | str) -> None:
        self._content = content
        self._device = device
        self._next = _HEADER.size + _HEADER.unpack_from(content)[2]  # where the next tensor is
        self._end = len(content) - framed.CHECKSUM.size

    def payload(self) -> dict[str, Any]:
        """Reads the text, and the tensors as they come in it."""
        text = self._content[_HEADER.size : self._next]
        payload = json.loads(text, object_hook=self._value)
        if not isinstance(payload, dict):
            raise ValueError(f"expected a dict, got {type(payload).__name__}")
        framed.check_length(self._next + framed.CHECKSUM.size, len(self._content))
        return payload

    def _value(self, table: dict[str, Any]) -> Any:
        [(kind, value)] = table.items()
        if kind == "tensor":
            return self._tensor(*value)
        if kind == "tuple":
            return tuple(value)
        if kind != "dict" or not all(type(key) in (str, int) for key, _ in value):
            raise ValueError("expected a tensor, a tuple, or a dict with keys of type str or int")
        return dict(value)

    def _tensor(self, name: str, shape: list[int]) -> Tensor:
        if not all(type(size) is int and size >= 0 for size in shape):
            raise ValueError("expected a tensor's shape as sizes >= 0")
        start, size = self._next, math.prod(shape) * _DTYPES[name].itemsize
        if size > self._end - start:
            raise ValueError(f"a tensor of {size} bytes; {self._end - start} are left")
        tensor = torch.empty(shape, dtype=_DTYPES[name], device="cpu")
        _bytes(tensor)[:] = self._content[start : start + size]
        self._next += size
        return tensor.to(self._device)
