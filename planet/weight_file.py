"""Weight files: a planner's weights for programs without Python; read by csrc/weight_file.h.

The layout is documented there. Both readers refuse the same files in the same words.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from planet.atomic import atomic_write, read_file
from planet.weights import MAX_REWARD_LAYERS, MAX_SIZE, RolloutWeights

_MAGIC = b"PLANETWF"
_VERSION = 1
# Magic, version, transition, length, min_stddev, activation, D, S, A, M, reward layers and widths.
_HEADER = struct.Struct("<8sIIQdI4II4I")
_CHECKSUM = struct.Struct("<I")
_HEADER_BYTES = 128
_ALIGNMENT = 64
_TRANSITIONS = ("rssm", "ssm")
_ACTIVATIONS = ("relu", "elu")


class WeightFileError(ValueError):
    """A weight file is damaged, cut short, written by a newer planet, or no weight file at all."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason


def save_weights(weights: RolloutWeights, path: Path | str) -> None:
    """Writes or replaces a weight file; a crash leaves the old content or the new, complete.

    Args:
      weights: snapshot of a model, on any device.
      path: file to write; its directory must exist.

    Raises:
      TypeError: `weights` is no snapshot.
      OSError: the file cannot be written; an existing one stays as it was.
    """
    if not isinstance(weights, RolloutWeights):
        raise TypeError(f"weights: expected RolloutWeights, got {type(weights).__name__}")
    rows = [weight.shape[0] for weight in weights.reward_weights]
    sizes = [weights.belief_size, weights.state_size, weights.action_size, weights.hidden_size]
    body = b""
    for name, _ in _tensors(sizes, rows):
        body += b"\0" * (-len(body) % _ALIGNMENT)
        body += _tensor(weights, name).cpu().numpy().tobytes()
    header = _HEADER.pack(
        _MAGIC,
        _VERSION,
        _TRANSITIONS.index(weights.transition),
        _HEADER_BYTES + len(body) + _CHECKSUM.size,
        weights.min_stddev,
        _ACTIVATIONS.index(weights.activation),
        *sizes,
        len(rows),
        *rows,
        *[0] * (MAX_REWARD_LAYERS - len(rows)),
    )
    content = header.ljust(_HEADER_BYTES, b"\0") + body
    with atomic_write(Path(path)) as file:
        file.write(content)
        file.write(_CHECKSUM.pack(zlib.crc32(content)))


def load_weights(path: Path | str) -> RolloutWeights:
    """Reads a weight file.

    Returns:
      The snapshot that was saved, on the CPU.

    Raises:
      OSError: the file cannot be read.
      WeightFileError: the file is no intact weight file of a format this release reads; the message
        names the file, what was expected and what came.
    """
    path = Path(path)
    content = bytearray(read_file(path))
    try:
        return _parse(content)
    except ValueError as error:
        raise WeightFileError(path, str(error)) from None


def _tensor(weights: RolloutWeights, name: str) -> Tensor:
    """The tensor that `_tensors` names."""
    field, _, index = name.rstrip("]").partition("[")
    value = getattr(weights, field)
    tensor: Tensor = value[int(index)] if index else value
    return tensor


def _parse(content: bytearray) -> RolloutWeights:
    _check_start(content)
    (stored,) = _CHECKSUM.unpack(content[-_CHECKSUM.size :])
    computed = zlib.crc32(memoryview(content)[: -_CHECKSUM.size])
    if stored != computed:
        raise ValueError(
            f"checksum: expected {stored:08x}, got {computed:08x}: the file is damaged"
        )
    _, _, transition, _, min_stddev, activation, *rest = _HEADER.unpack_from(content)
    sizes, layers, widths = rest[:4], rest[4], rest[5:]
    _check_sizes(transition, activation, sizes, layers, widths)
    if not 0.0 <= min_stddev <= torch.finfo(torch.float32).max:
        raise ValueError(f"min_stddev: expected a finite float32 value >= 0, got {min_stddev:.9g}")
    values: dict[str, Any] = {}
    for name, value in _read_tensors(content, list(_tensors(sizes, widths[:layers]))):
        if name.endswith("]"):  # of a reward layer
            values.setdefault(name.partition("[")[0], []).append(value)
        else:
            values[name] = value
    return RolloutWeights(
        **values,
        transition=_TRANSITIONS[transition],
        activation=_ACTIVATIONS[activation],
        min_stddev=min_stddev,
    )


def _check_start(content: bytearray) -> None:
    """Magic, version and length."""
    size = len(content)
    if not content.startswith(_MAGIC):
        raise ValueError(f"magic: expected {_MAGIC.decode()}, got no weight file ({size} bytes)")
    version = int.from_bytes(content[8:12], "little") if size >= 12 else _VERSION
    if version > _VERSION:
        raise ValueError(
            f"version: written by a newer planet (format {version}, this one reads up to "
            f"{_VERSION})"
        )
    least = _HEADER_BYTES + _CHECKSUM.size
    if size < least:
        raise ValueError(
            f"length: expected at least {least} bytes, got {size}: the file is truncated"
        )
    if version != _VERSION:
        raise ValueError(f"version: expected {_VERSION}, got {version}")
    length = int.from_bytes(content[16:24], "little")
    if length != size:
        what = "truncated" if size < length else "followed by other data"
        raise ValueError(f"length: expected {length} bytes, got {size}: the file is {what}")


def _check_sizes(
    transition: int, activation: int, sizes: list[int], layers: int, widths: list[int]
) -> None:
    _check_range("transition", transition, 0, 1)
    _check_range("activation", activation, 0, 1)
    ssm = transition == 1
    _check_range("belief", sizes[0], 0 if ssm else 1, 0 if ssm else MAX_SIZE)
    for name, size in zip(("state", "action", "hidden"), sizes[1:], strict=True):
        _check_range(name, size, 1, MAX_SIZE)
    _check_range("reward_layers", layers, 1, MAX_REWARD_LAYERS)
    for i, width in enumerate(widths):
        most = MAX_SIZE if i + 1 < layers else 1 if i + 1 == layers else 0
        _check_range(f"reward_widths[{i}]", width, min(1, most), most)


def _check_range(name: str, value: int, least: int, most: int) -> None:
    if not least <= value <= most:
        expected = f"{least}" if least == most else f"{least} to {most}"
        raise ValueError(f"{name}: expected {expected}, got {value}")


def _tensors(sizes: list[int], rows: list[int]) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Name and shape of every tensor in the order of the file; sizes are D, S, A, M."""
    belief, state, action, hidden = sizes
    yield "input_weight", (hidden, state + action)
    yield "input_bias", (hidden,)
    if belief:
        yield "gru_weight_ih", (3 * belief, hidden)
        yield "gru_weight_hh", (3 * belief, belief)
        yield "gru_bias_ih", (3 * belief,)
        yield "gru_bias_hh", (3 * belief,)
    yield "prior_hidden_weight", (hidden, belief or hidden)
    yield "prior_hidden_bias", (hidden,)
    yield "prior_weight", (2 * state, hidden)
    yield "prior_bias", (2 * state,)
    for i, (inputs, width) in enumerate(zip([belief + state, *rows], rows, strict=False)):
        yield f"reward_weights[{i}]", (width, inputs)
        yield f"reward_biases[{i}]", (width,)


def _read_tensors(
    content: bytearray, layout: list[tuple[str, tuple[int, ...]]]
) -> Iterator[tuple[str, Tensor]]:
    """Every tensor, a view of `content`, after comparing the length and looking for NaN."""
    starts, end = [], _HEADER_BYTES
    for _, shape in layout:
        starts.append(end + -end % _ALIGNMENT)
        end = starts[-1] + 4 * math.prod(shape)
    if end + _CHECKSUM.size != len(content):
        raise ValueError(
            f"length: expected {end + _CHECKSUM.size} bytes for the sizes in the header, "
            f"got {len(content)}"
        )
    for (name, shape), start in zip(layout, starts, strict=True):
        count = math.prod(shape)
        value = torch.frombuffer(content, dtype=torch.float32, count=count, offset=start)
        wrong = count - int(torch.isfinite(value).sum())
        if wrong:
            raise ValueError(f"{name}: expected finite values, got {wrong} NaN or infinite")
        yield name, value.reshape(shape)
