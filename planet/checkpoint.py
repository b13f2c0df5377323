"""One file that a run continues from: replaced atomically, read without running any code."""

from __future__ import annotations

import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from planet.atomic import atomic_write

_FORMAT = "planet checkpoint"
_VERSION = 1
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
    with atomic_write(Path(path)) as file:
        torch.save({"format": _FORMAT, "version": _VERSION, "payload": plain}, file)


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
    _verify_archive(path)
    try:
        content = torch.load(path, map_location=device, weights_only=True)
    except (RuntimeError, pickle.UnpicklingError, EOFError, ValueError, KeyError) as error:
        reason = str(error).partition("\n")[0]
        raise CheckpointError(path, f"cannot be read: {reason}") from error
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        raise CheckpointError(path, "is no planet checkpoint, though torch can read it")
    version = content.get("version")
    if version != _VERSION:
        newer = isinstance(version, int) and version > _VERSION
        raise CheckpointError(
            path,
            f"format version {version} {'is newer than' if newer else 'is not'} "
            f"the one this release reads ({_VERSION})",
        )
    payload: dict[str, Any] = content["payload"]
    return payload


def _verify_archive(path: Path) -> None:
    """Compares the checksums of the zip archive, which torch.load itself does not do."""
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError) as error:
        size = path.stat().st_size
        raise CheckpointError(
            path, f"is truncated or no checkpoint ({size} bytes): {error}"
        ) from error
    if damaged is not None:
        raise CheckpointError(path, f"checksum of its part {damaged} does not match")


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
