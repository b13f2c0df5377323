"""Reading what `torch.save` wrote without trusting it: nothing runs and nothing inflates.

torch's own reader takes sizes from the pickle inside the file and believes them, and inflates
compressed entries. This one knows the few pickle instructions, classes and tensor layouts that our
files have, compares every size with the bytes that are there, and refuses everything else.
"""

from __future__ import annotations

import io
import math
import pickle
import zipfile
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

DTYPES: dict[torch.dtype, str] = {
    torch.float64: "DoubleStorage",
    torch.float32: "FloatStorage",
    torch.float16: "HalfStorage",
    torch.bfloat16: "BFloat16Storage",
    torch.int64: "LongStorage",
    torch.int32: "IntStorage",
    torch.int16: "ShortStorage",
    torch.int8: "CharStorage",
    torch.uint8: "ByteStorage",
    torch.bool: "BoolStorage",
}
"""Types of tensors that can be kept, by torch's names for their memory."""

PLAIN_TYPES = (bool, int, float, str, type(None))
_STORAGES = {name: dtype for dtype, name in DTYPES.items()}
# Of pickle's protocol 2, without the instructions that make instances or reserve memory.
_INSTRUCTIONS = (
    "PROTO", "STOP", "MARK", "NONE", "NEWTRUE", "NEWFALSE", "BININT", "BININT1", "BININT2",
    "LONG1", "LONG4", "BINFLOAT", "BINUNICODE", "EMPTY_DICT", "SETITEM", "SETITEMS", "EMPTY_LIST",
    "APPEND", "APPENDS", "EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "BINPUT",
    "LONG_BINPUT", "BINGET", "LONG_BINGET", "GLOBAL", "BINPERSID", "REDUCE",
)  # fmt: skip


def read_archive(content: bytes, device: torch.device | str = "cpu") -> dict[str, Any]:
    """Reads a dict of plain values and tensors.

    Args:
      content: what `torch.save` wrote.
      device: where the tensors go.

    Returns:
      The dict: None, bool, int, float, str, tensors, and lists, tuples and dicts of them.

    Raises:
      ValueError: the content is anything else; the message says what.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            _check_entries(archive, len(content))
            payload = _Reader(archive, device).load()
        _check_plain(payload)
    # What can be wrong with bytes that somebody made up has no end of types.
    except Exception as error:
        reason = str(error).partition("\n")[0]
        kind = "" if type(error) is ValueError and reason else f"{type(error).__name__} "
        raise ValueError(f"{kind}{reason}".rstrip()) from error
    return payload  # type: ignore[no-any-return]


def _check_entries(archive: zipfile.ZipFile, size: int) -> None:
    entries = archive.infolist()
    for entry in entries:
        if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size:
            raise ValueError(f"{entry.filename!r} is compressed; torch.save stores only")
    declared = sum(entry.file_size for entry in entries)
    if declared > size:
        raise ValueError(f"entries of {declared} bytes are declared in a file of {size}")


def _with_plain_keys(code: int, keys: slice) -> Callable[[Any], None]:
    """Checks the keys of an instruction before they are hashed: tuples of tuples take for ever.

    Args:
      code: of an instruction that fills a dict.
      keys: where they are on the stack.
    """
    fill = pickle._Unpickler.dispatch[code]

    def checked(reader: Any) -> None:
        if not all(type(key) in (str, int) for key in reader.stack[keys]):
            raise ValueError("holds a dict with keys that are neither str nor int")
        fill(reader)

    return checked


class _Reader(pickle._Unpickler):
    """Interprets the pickle; Python's own interpreter keeps its memo in a dict, C's in an array."""

    dispatch = {  # noqa: RUF012
        code: pickle._Unpickler.dispatch[code]
        for code in (getattr(pickle, name)[0] for name in _INSTRUCTIONS)
    }

    dispatch[pickle.SETITEM[0]] = _with_plain_keys(pickle.SETITEM[0], slice(-2, -1))
    dispatch[pickle.SETITEMS[0]] = _with_plain_keys(pickle.SETITEMS[0], slice(None, None, 2))

    def __init__(self, archive: zipfile.ZipFile, device: torch.device | str) -> None:
        names = [name for name in archive.namelist() if name.endswith("/data.pkl")]
        if len(names) != 1:
            raise ValueError(f"expected one data.pkl, got {len(names)}")
        self._archive = archive
        self._folder = names[0].removesuffix("data.pkl")
        self._device = device
        self._memory: dict[str, Tensor] = {}
        order = f"{self._folder}byteorder"
        if order in archive.namelist() and archive.read(order) != b"little":
            raise ValueError("expected little-endian numbers")
        super().__init__(io.BytesIO(archive.read(names[0])))

    def find_class(self, module: str, name: str) -> Any:
        """Knows what the pickle of a tensor names; none of it is looked up anywhere."""
        if module == "torch" and name in _STORAGES:
            return _STORAGES[name]
        known: dict[tuple[str, str], Callable[..., Any]] = {
            ("torch._utils", "_rebuild_tensor_v2"): _tensor,
            ("collections", "OrderedDict"): _no_hooks,
        }
        if (module, name) not in known:
            raise ValueError(f"names {module}.{name}, which no checkpoint holds")
        return known[module, name]

    def persistent_load(self, pid: Any) -> Tensor:
        """Reads a tensor's memory, flat [N]."""
        kind, dtype, key, _, length = pid
        if kind != "storage" or not isinstance(dtype, torch.dtype) or type(key) is not str:
            raise ValueError("expected the memory of a tensor")
        if key not in self._memory:
            data = bytearray(self._archive.read(f"{self._folder}data/{key}"))
            flat = (
                torch.frombuffer(data, dtype=dtype)
                if data
                else torch.empty(0, dtype=dtype, device="cpu")
            )
            self._memory[key] = flat.to(self._device)
        memory = self._memory[key]
        if _whole(length) != memory.numel() or memory.dtype != dtype:
            raise ValueError(
                f"data/{key}: expected {length} x {dtype}, got {memory.numel()} x {memory.dtype}"
            )
        return memory


def _tensor(
    memory: Any, offset: Any, size: Any, stride: Any, gradient: Any, hooks: Any, *more: Any
) -> Tensor:
    """Lays a tensor out in its memory."""
    if not isinstance(memory, Tensor) or memory.dim() != 1 or gradient or hooks or more:
        raise ValueError("expected a tensor without gradient and hooks")
    if type(size) is not tuple or type(stride) is not tuple or len(size) != len(stride):
        raise ValueError("expected as many strides as sizes")
    numbers = math.prod(map(_whole, size))
    last = sum((length - 1) * _whole(step) for length, step in zip(size, stride, strict=True))
    if numbers > memory.numel() or (numbers and _whole(offset) + last >= memory.numel()):
        raise ValueError(f"a tensor of {numbers} numbers leaves its memory of {memory.numel()}")
    return torch.as_strided(memory, size, stride, offset if numbers else 0)


def _no_hooks() -> None:
    """Stands for the empty OrderedDict that every tensor's pickle carries."""


def _whole(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 1 << 63:
        raise ValueError("expected sizes of 0 or more")
    return value


def _check_plain(payload: Any) -> None:
    """Refuses what no payload holds, and containers that lie in several places or in themselves."""
    if type(payload) is not dict:
        raise ValueError(f"expected a dict, got {type(payload).__name__}")
    seen: set[int] = set()
    left: list[Any] = [payload]
    while left:
        value = left.pop()
        if type(value) in PLAIN_TYPES or type(value) is Tensor:
            continue
        if type(value) not in (dict, list, tuple):
            raise ValueError(f"holds a {type(value).__name__}")
        if value and id(value) in seen:
            raise ValueError(f"holds the same {type(value).__name__} twice")
        seen.add(id(value))
        left.extend(value.values() if isinstance(value, dict) else value)
