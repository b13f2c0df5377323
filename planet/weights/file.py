"""Writes and reads weight files: an agent's or a planner's weights for programs without Python.

The layout stands in csrc/weight_file.h. Both readers refuse the same files in the same words.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from planet.storage import framed
from planet.storage.atomic import read_file
from planet.weights.filter_weights import FilterWeights
from planet.weights.parameters import ACTIVATIONS, STDDEVS, TRANSITIONS
from planet.weights.planner_settings import plain_settings, read_settings
from planet.weights.rollout_weights import RolloutWeights
from planet.weights.shapes import (
    MAX_CHANNELS,
    MAX_ENCODER_LAYERS,
    MAX_IMAGE_SIZE,
    MAX_REWARD_LAYERS,
    MAX_SIZE,
    MAX_STRIDE,
    EncoderSizes,
    Sizes,
    arguments,
    filter_arguments,
    shapes,
)

# Magic, version, transition, length, min_stddev, activation, D, S, A, M, reward layers and widths,
# stddev, delta, bytes of the settings; of a filter encoder layers, image size, bit depth.
_HEADER = struct.Struct("<8sIIQdI4II4I6I")
_LAYER = struct.Struct("<3I")  # of the encoder: channels, kernel, stride
_FORMAT = framed.Format("weight file", b"PLANETWF", 128, oldest=1, newest=2)
_ALIGNMENT = 64
_MOST_SETTINGS = 65536


class WeightFileError(framed.FileError):
    """Is raised for weight files that are damaged, cut short, of a newer planet, or none at all."""


def save_weights(
    weights: RolloutWeights | FilterWeights,
    path: Path | str,
    settings: Mapping[str, Any] | None = None,
) -> None:
    """Writes or replaces a weight file; a crash leaves the old content or the new, complete.

    Args:
      weights: snapshot of a whole agent, or of what plans alone, on any device.
      path: file to write; its directory must exist.
      settings: how to act with them, for programs that obey it: names of settings of planner and
        imagination (`planet.config`), `action_repeat`, `exploration_stddev` and `render_size`.
        Others are kept, too.

    Raises:
      TypeError, ValueError: `weights` is no snapshot, or a setting cannot be written; the message
        names it.
      OSError: the file cannot be written; an existing one stays as it was.
    """
    if isinstance(weights, FilterWeights):
        rollout, encoder = weights.rollout, weights.encoder
        layers, fields = encoder.layers(), (len(encoder.channels), encoder.image, encoder.bits)
    elif isinstance(weights, RolloutWeights):
        rollout, layers, fields = weights, [], (0, 0, 0)
    else:
        got = type(weights).__name__
        raise TypeError(f"weights: expected RolloutWeights or FilterWeights, got {got}")
    body = plain_settings(settings or {}, _MOST_SETTINGS)
    settings_bytes, table = len(body), b"".join(_LAYER.pack(*layer) for layer in layers)
    tensors = (tensor.cpu().numpy().tobytes() for tensor in weights.named_tensors().values())
    for part in (table, *tensors):
        body += b"\0" * (-len(body) % _ALIGNMENT) + part
    own, rows = rollout.sizes, rollout.sizes.reward_rows
    sizes = own.belief, own.state, own.action, own.hidden
    widths = [*rows, *[0] * (MAX_REWARD_LAYERS - len(rows))]
    header = _HEADER.pack(
        _FORMAT.magic, _FORMAT.newest, TRANSITIONS.index(rollout.transition),
        _FORMAT.least + len(body), rollout.min_stddev, ACTIVATIONS.index(rollout.activation),
        *sizes, len(rows), *widths, STDDEVS.index(rollout.stddev), 0, settings_bytes, *fields,
    )  # fmt: skip
    framed.write_sealed(path, (header.ljust(_FORMAT.header_bytes, b"\0"), body))


def load_weights(path: Path | str) -> RolloutWeights:
    """Reads what plans out of a weight file, of a whole agent or not.

    Returns:
      The snapshot that was saved, on the CPU.

    Raises:
      OSError: the file cannot be read.
      WeightFileError: the file is no intact weight file of a format this release reads; the message
        names the file, what was expected and what came.
    """
    weights = _load(Path(path))[0]
    return weights.rollout if isinstance(weights, FilterWeights) else weights


def load_filter_weights(path: Path | str) -> FilterWeights:
    """Reads a whole agent from a weight file.

    Returns:
      The snapshot that was saved, on the CPU.

    Raises:
      OSError: the file cannot be read.
      WeightFileError: as `load_weights`, or there is no encoder in the file, only what plans.
    """
    weights = _load(Path(path))[0]
    if isinstance(weights, FilterWeights):
        return weights
    raise WeightFileError(
        Path(path),
        f"image_size: expected 1 to {MAX_IMAGE_SIZE}, got 0: the file has no encoder; export the "
        "run again",
    )


def load_settings(path: Path | str) -> dict[str, Any]:
    """Reads the settings that were saved beside the weights; none in files of format 1.

    Raises:
      OSError, WeightFileError: as `load_weights`; the whole file is checked.
    """
    return _load(Path(path))[1]


def _load(path: Path) -> tuple[RolloutWeights | FilterWeights, dict[str, Any]]:
    with framed.refused_as(WeightFileError, path):
        return _parse(bytearray(read_file(path)))


def _parse(content: bytearray) -> tuple[RolloutWeights | FilterWeights, dict[str, Any]]:
    _FORMAT.check_sealed(content)
    _, version, transition, _, min_stddev, activation, *rest = _HEADER.unpack_from(content)
    sizes, layers, widths, added = rest[:4], rest[4], rest[5:9], rest[9:]
    _check_sizes(version, transition, activation, sizes, layers, widths)
    if not 0.0 <= min_stddev <= torch.finfo(torch.float32).max:
        raise ValueError(f"min_stddev: expected a finite float32 value >= 0, got {min_stddev:.9g}")
    _check_additions(version, transition, added, content[_HEADER.size : _FORMAT.header_bytes])
    stddev, _, settings_bytes, *of_encoder = added
    end = _FORMAT.header_bytes + settings_bytes
    text = bytes(content[_FORMAT.header_bytes : end])
    encoder, end = _read_encoder(content, end, *of_encoder)
    belief, state, action, hidden = sizes
    *reward, last = widths[:layers]
    own = Sizes(belief, state, action, hidden, tuple(reward), continuation=last == 2)
    planned, filtered = shapes(own), encoder.shapes(own) if encoder else {}
    table = planned | {name: shape for name, (_, shape) in filtered.items()}
    starts = _starts(table, end, len(content))
    settings = read_settings(text) if text else {}
    tensors = dict(_read_tensors(content, table, starts))
    rollout = RolloutWeights(
        **arguments({name: tensors[name] for name in planned}),
        transition=TRANSITIONS[transition],
        activation=ACTIVATIONS[activation],
        stddev=STDDEVS[stddev],
        min_stddev=min_stddev,
    )
    if encoder is None:
        return rollout, settings
    whole = FilterWeights(
        rollout=rollout,
        **filter_arguments({name: tensors[name] for name in filtered}),
        encoder_strides=encoder.strides,
        image_size=encoder.image,
        bit_depth=encoder.bits,
    )
    return whole, settings


def _check_sizes(
    version: int, transition: int, activation: int, sizes: list[int], layers: int, widths: list[int]
) -> None:
    framed.check_range("transition", transition, 0, 1)
    framed.check_range("activation", activation, 0, 1)
    ssm = transition == 1
    framed.check_range("belief", sizes[0], 0 if ssm else 1, 0 if ssm else MAX_SIZE)
    for name, size in zip(("state", "action", "hidden"), sizes[1:], strict=True):
        framed.check_range(name, size, 1, MAX_SIZE)
    framed.check_range("reward_layers", layers, 1, MAX_REWARD_LAYERS)
    for i, width in enumerate(widths):
        most = MAX_SIZE if i + 1 < layers else 0
        if i + 1 == layers:  # reward, and from format 2 on the logit of going on
            most = min(version, 2)
        framed.check_range(f"reward_widths[{i}]", width, min(1, most), most)


def _check_additions(version: int, transition: int, added: list[int], zeros: bytearray) -> None:
    """Checks what format 1 does not have."""
    stddev, delta, settings_bytes, layers, image, bits = added

    def check(name: str, value: int, most: int, least: int = 0) -> None:
        framed.check_range(name, value, *((0, 0) if version == 1 else (least, most)))

    check("stddev", stddev, 1)
    check("delta", delta, 1)
    if delta:
        raise ValueError("delta: residual transitions are not available yet; expected 0, got 1")
    check("settings_bytes", settings_bytes, _MOST_SETTINGS)
    check("image_size", image, MAX_IMAGE_SIZE)
    if image and transition == 1:
        raise ValueError(
            f"image_size: the filter of an ssm is not available yet; expected 0, got {image}"
        )
    check("encoder_layers", layers, MAX_ENCODER_LAYERS if image else 0)
    check("bit_depth", bits, 8 if image else 0, min(1, image))
    if any(zeros):
        raise ValueError("header: expected zeros behind the last field")


def _read_encoder(
    content: bytearray, end: int, layers: int, image: int, bits: int
) -> tuple[EncoderSizes | None, int]:
    """Reads the table of the encoder's layers behind `end`; returns where it ends, too."""
    if not image:
        return None, end
    start = end + -end % _ALIGNMENT
    end = start + layers * _LAYER.size
    if end + framed.CHECKSUM.size > len(content):
        expected = f"at least {end + framed.CHECKSUM.size} bytes for the sizes in the header"
        raise ValueError(f"length: expected {expected}, got {len(content)}")
    side, table = image, list(_LAYER.iter_unpack(content[start:end]))
    for i, (channels, kernel, stride) in enumerate(table):
        framed.check_range(f"encoder_channels[{i}]", channels, 1, MAX_CHANNELS)
        framed.check_range(f"encoder_kernels[{i}]", kernel, 1, side)
        framed.check_range(f"encoder_strides[{i}]", stride, 1, MAX_STRIDE)
        side = (side - kernel) // stride + 1
    channels, kernels, strides = zip(*table, strict=True) if table else ((), (), ())
    return EncoderSizes(image, bits, channels, kernels, strides), end


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
