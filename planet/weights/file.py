"""Writes and reads weight files: a planner's weights for programs without Python.

The layout stands in csrc/weight_file.h. Both readers refuse the same files in the same words.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Mapping
from dataclasses import astuple
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from planet.errors.checks import check_type
from planet.storage import framed
from planet.storage.atomic import read_file
from planet.weights.parameters import ACTIVATIONS, STDDEVS, TRANSITIONS
from planet.weights.planner_settings import plain_settings, read_settings
from planet.weights.rollout_weights import RolloutWeights
from planet.weights.shapes import MAX_REWARD_LAYERS, MAX_SIZE, Sizes, arguments, shapes

# Magic, version, transition, length, min_stddev, activation, D, S, A, M, reward layers and widths,
# stddev, delta, bytes of the settings.
_HEADER = struct.Struct("<8sIIQdI4II4I3I")
_FORMAT = framed.Format("weight file", b"PLANETWF", 128, oldest=1, newest=2)
_ALIGNMENT = 64
_MOST_SETTINGS = 65536


class WeightFileError(framed.FileError):
    """Is raised for weight files that are damaged, cut short, of a newer planet, or none at all."""


def save_weights(
    weights: RolloutWeights, path: Path | str, settings: Mapping[str, Any] | None = None
) -> None:
    """Writes or replaces a weight file; a crash leaves the old content or the new, complete.

    Args:
      weights: snapshot of a model, on any device.
      path: file to write; its directory must exist.
      settings: how to plan with them, for programs that obey it: names of settings of planner and
        imagination (`planet.config`), and `action_repeat`. Others are kept, too.

    Raises:
      TypeError, ValueError: `weights` is no snapshot, or a setting cannot be written; the message
        names it.
      OSError: the file cannot be written; an existing one stays as it was.
    """
    check_type("weights", weights, RolloutWeights)
    *sizes, reward = astuple(weights.sizes)
    rows = [*reward, 1, *[0] * (MAX_REWARD_LAYERS - len(reward) - 1)]
    body = plain_settings(settings or {}, _MOST_SETTINGS)
    settings_bytes = len(body)
    for tensor in weights.named_tensors().values():
        body += b"\0" * (-len(body) % _ALIGNMENT)
        body += tensor.cpu().numpy().tobytes()
    header = _HEADER.pack(
        _FORMAT.magic, _FORMAT.newest, TRANSITIONS.index(weights.transition),
        _FORMAT.least + len(body), weights.min_stddev, ACTIVATIONS.index(weights.activation),
        *sizes, len(reward) + 1, *rows, STDDEVS.index(weights.stddev), 0, settings_bytes,
    )  # fmt: skip
    framed.write_sealed(path, (header.ljust(_FORMAT.header_bytes, b"\0"), body))


def load_weights(path: Path | str) -> RolloutWeights:
    """Reads a weight file.

    Returns:
      The snapshot that was saved, on the CPU.

    Raises:
      OSError: the file cannot be read.
      WeightFileError: the file is no intact weight file of a format this release reads; the message
        names the file, what was expected and what came.
    """
    return _load(Path(path))[0]


def load_settings(path: Path | str) -> dict[str, Any]:
    """Reads the settings that were saved beside the weights; none in files of format 1.

    Raises:
      OSError, WeightFileError: as `load_weights`; the whole file is checked.
    """
    return _load(Path(path))[1]


def _load(path: Path) -> tuple[RolloutWeights, dict[str, Any]]:
    with framed.refused_as(WeightFileError, path):
        return _parse(bytearray(read_file(path)))


def _parse(content: bytearray) -> tuple[RolloutWeights, dict[str, Any]]:
    _FORMAT.check_sealed(content)
    _, version, transition, _, min_stddev, activation, *rest = _HEADER.unpack_from(content)
    sizes, layers, widths, (stddev, delta, settings_bytes) = rest[:4], rest[4], rest[5:9], rest[9:]
    _check_sizes(transition, activation, sizes, layers, widths)
    if not 0.0 <= min_stddev <= torch.finfo(torch.float32).max:
        raise ValueError(f"min_stddev: expected a finite float32 value >= 0, got {min_stddev:.9g}")
    zeros = content[_HEADER.size : _FORMAT.header_bytes]
    _check_additions(version, stddev, delta, settings_bytes, zeros)
    first = _FORMAT.header_bytes + settings_bytes
    belief, state, action, hidden = sizes
    table = shapes(Sizes(belief, state, action, hidden, tuple(widths[: layers - 1])))
    starts = _starts(table, first, len(content))
    settings = read_settings(bytes(content[_FORMAT.header_bytes : first])) if settings_bytes else {}
    tensors = dict(_read_tensors(content, table, starts))
    weights = RolloutWeights(
        **arguments(tensors),
        transition=TRANSITIONS[transition],
        activation=ACTIVATIONS[activation],
        stddev=STDDEVS[stddev],
        min_stddev=min_stddev,
    )
    return weights, settings


def _check_sizes(
    transition: int, activation: int, sizes: list[int], layers: int, widths: list[int]
) -> None:
    framed.check_range("transition", transition, 0, 1)
    framed.check_range("activation", activation, 0, 1)
    ssm = transition == 1
    framed.check_range("belief", sizes[0], 0 if ssm else 1, 0 if ssm else MAX_SIZE)
    for name, size in zip(("state", "action", "hidden"), sizes[1:], strict=True):
        framed.check_range(name, size, 1, MAX_SIZE)
    framed.check_range("reward_layers", layers, 1, MAX_REWARD_LAYERS)
    for i, width in enumerate(widths):
        if i + 1 == layers and width == 2:
            raise ValueError(
                f"reward_widths[{i}]: a continuation row is not available yet; expected 1, got 2"
            )
        most = MAX_SIZE if i + 1 < layers else 1 if i + 1 == layers else 0
        framed.check_range(f"reward_widths[{i}]", width, min(1, most), most)


def _check_additions(
    version: int, stddev: int, delta: int, settings_bytes: int, zeros: bytearray
) -> None:
    """Checks what format 1 does not have."""
    framed.check_range("stddev", stddev, 0, 0 if version == 1 else 1)
    framed.check_range("delta", delta, 0, 0 if version == 1 else 1)
    if delta:
        raise ValueError("delta: residual transitions are not available yet; expected 0, got 1")
    framed.check_range("settings_bytes", settings_bytes, 0, 0 if version == 1 else _MOST_SETTINGS)
    if any(zeros):
        raise ValueError("header: expected zeros behind the last field")


def _starts(table: dict[str, tuple[int, ...]], first: int, size: int) -> list[int]:
    """Lays the tensors out from `first` on, and checks the length of the file."""
    starts, end = [], first
    for shape in table.values():
        starts.append(end + -end % _ALIGNMENT)
        end = starts[-1] + 4 * math.prod(shape)
    end += framed.CHECKSUM.size
    if end != size:
        raise ValueError(f"length: expected {end} bytes for the sizes in the header, got {size}")
    return starts


def _read_tensors(
    content: bytearray, table: dict[str, tuple[int, ...]], starts: list[int]
) -> Iterator[tuple[str, Tensor]]:
    """Yields every tensor, a view of `content`, after looking for NaN."""
    for (name, shape), start in zip(table.items(), starts, strict=True):
        count = math.prod(shape)
        value = torch.frombuffer(content, dtype=torch.float32, count=count, offset=start)
        wrong = count - int(torch.isfinite(value).sum())
        if wrong:
            raise ValueError(f"{name}: expected finite values, got {wrong} NaN or infinite")
        yield name, value.reshape(shape)
