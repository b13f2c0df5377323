"""Checks weight files of whole agents: they come back, and both readers refuse the same damage."""

from __future__ import annotations

import math
import random
import struct
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from random_filters import make_filter
from random_weights import PRESET_SIZES, TINY, make_weights
from weight_files import (
    HEADER,
    NAMES,
    SETTINGS,
    SMALLEST_AGENT,
    Reader,
    changed,
    content_of,
    sealed,
)

from planet.weights.file import (
    WeightFileError,
    load_filter_weights,
    load_settings,
    load_weights,
    save_weights,
)
from planet.weights.shapes import EncoderSizes

PAPER = EncoderSizes(64, 5, (32, 64, 128, 256), (4,) * 4, (2,) * 4)
AGENTS = {
    "tiny": make_filter(stddev="clamp", activation="elu"),
    "continuation": make_filter(replace(TINY, continuation=True)),
    "no layers": make_filter(TINY, EncoderSizes(2, 8, (), (), ())),
    "16 layers": make_filter(
        TINY, EncoderSizes(3, 1, (2,) * 16, (1,) * 16, (2**31 - 1, *[1] * 15))
    ),
    "paper": make_filter(PRESET_SIZES["paper"], PAPER),
}
TABLE = 192  # where the table of layers begins in a file whose settings are shorter than 64 bytes


# --- what is written comes back ---


@pytest.mark.parametrize("name", list(AGENTS))
def test_agents_come_back_as_saved(tmp_path: Path, name: str) -> None:
    weights, path = AGENTS[name], tmp_path / "agent.weights"
    save_weights(weights, path, SETTINGS)
    loaded = load_filter_weights(path)
    assert load_settings(path) == SETTINGS
    assert (loaded.encoder, loaded.rollout.sizes) == (weights.encoder, weights.rollout.sizes)
    for field in ("transition", "activation", "stddev", "min_stddev"):
        assert getattr(loaded.rollout, field) == getattr(weights.rollout, field)
    saved, planned = weights.named_tensors(), load_weights(path).named_tensors()
    assert list(loaded.named_tensors()) == list(saved)
    for tensors in (loaded.named_tensors(), planned):
        assert all(torch.equal(tensor, saved[key]) for key, tensor in tensors.items())
    assert list(planned) == list(weights.rollout.named_tensors())


@pytest.mark.parametrize("name", list(AGENTS))
def test_cpp_reads_the_agents_that_python_wrote(
    tmp_path: Path, name: str, read_in_cpp: Reader
) -> None:
    weights, value = AGENTS[name], 0xCBF29CE484222325
    numbers = [tensor.numpy().ravel() for tensor in weights.named_tensors().values()]
    for word in np.concatenate(numbers).view(np.uint32).tolist():
        value = ((value ^ word) * 0x100000001B3) % 2**64
    encoder = weights.encoder
    layers = "".join(f" {c}/{k}/{s}" for c, k, s in encoder.layers())
    (line,) = read_in_cpp([content_of(weights, tmp_path)])
    rows = weights.rollout.sizes.reward_rows[-1]
    assert f" {rows} image {encoder.image} bits {encoder.bits}{layers} {value:016x} 12 1000" in line


def test_layout_is_the_documented_one(tmp_path: Path) -> None:
    weights, text = make_filter(), b'{\n "horizon": 7\n}'
    content = content_of(weights, tmp_path, {"horizon": 7})
    header = dict(zip(NAMES, HEADER.unpack_from(content), strict=True))
    assert [header[name] for name in NAMES[-4:]] == [len(text), 2, 9, 5]
    assert content[96:128] == bytes(32)
    end = TABLE + 24
    assert content[128:end] == text.ljust(64, b"\0") + struct.pack("<6I", 4, 4, 2, 3, 2, 1)
    for tensor in weights.named_tensors().values():
        start = (end + 63) // 64 * 64
        assert content[end:start] == bytes(start - end)
        end = start + 4 * tensor.numel()
        assert content[start:end] == tensor.numpy().tobytes()
    assert content[end:] == struct.pack("<I", zlib.crc32(content[:end]))


def test_a_planner_s_file_is_no_agent_s(tmp_path: Path) -> None:
    path = tmp_path / "model.weights"
    save_weights(make_weights(), path)
    with pytest.raises(
        WeightFileError, match="image_size: expected 1 to 1024, got 0: the file has"
    ):
        load_filter_weights(path)
    assert load_weights(path).sizes == TINY


# --- nothing else is accepted ---

HUGE = 2**32 - 1
REFUSED = {
    "filter of format 1": ({"version": 1, "settings_bytes": 0}, "image_size: expected 0, got 9"),
    "large image": ({"image_size": 1025}, "image_size: expected 0 to 1024, got 1025"),
    "huge image": ({"image_size": HUGE}, f"image_size: expected 0 to 1024, got {HUGE}"),
    "other image": ({"image_size": 3}, "encoder_kernels[0]: expected 1 to 3, got 4"),
    "no image": ({"image_size": 0}, "encoder_layers: expected 0, got 2"),
    "no filter but bits": ({"image_size": 0, "encoder_layers": 0}, "bit_depth: expected 0, got 5"),
    "filter of an ssm": ({"transition": 1, "belief": 0}, "image_size: the filter of an ssm is not "
                         "available yet; expected 0, got 9"),
    "17 layers": ({"encoder_layers": 17}, "encoder_layers: expected 0 to 16, got 17"),
    "fewer layers": ({"encoder_layers": 1}, "length: expected 4764 bytes for the sizes in the "
                                            "header, got 4380"),
    "more layers": ({"encoder_layers": 3}, "encoder_channels[2]: expected 1 to 4096, got 0"),
    "no bits": ({"bit_depth": 0}, "bit_depth: expected 1 to 8, got 0"),
    "nine bits": ({"bit_depth": 9}, "bit_depth: expected 1 to 8, got 9"),
}  # fmt: skip
REFUSED_LAYERS = {  # number of the table, value
    "no channels": (0, 0, "encoder_channels[0]: expected 1 to 4096, got 0"),
    "many channels": (3, 4097, "encoder_channels[1]: expected 1 to 4096, got 4097"),
    "no kernel": (1, 0, "encoder_kernels[0]: expected 1 to 9, got 0"),
    "a kernel beyond the frame": (1, 10, "encoder_kernels[0]: expected 1 to 9, got 10"),
    "a kernel beyond its inputs": (4, 4, "encoder_kernels[1]: expected 1 to 3, got 4"),
    "no stride": (2, 0, "encoder_strides[0]: expected 1 to 2147483647, got 0"),
    "huge stride": (5, 2**31, f"encoder_strides[1]: expected 1 to 2147483647, got {2**31}"),
    "a stride that leaves one pixel": (2, 2**31 - 1, "encoder_kernels[1]: expected 1, got 2"),
}


def in_table(content: bytes, number: int, value: int) -> bytes:
    """Puts another number into the table of layers."""
    at = TABLE + 4 * number
    return sealed(content[:at] + struct.pack("<I", value) + content[at + 4 :])


@pytest.mark.parametrize("name", list(REFUSED))
def test_wrong_headers_are_refused_by_name(tmp_path: Path, name: str, reasons: Reader) -> None:
    values, reason = REFUSED[name]
    assert reasons([changed(content_of(make_filter(), tmp_path), **values)]) == [reason]


@pytest.mark.parametrize("name", list(REFUSED_LAYERS))
def test_wrong_layers_are_refused_by_name(tmp_path: Path, name: str, reasons: Reader) -> None:
    number, value, reason = REFUSED_LAYERS[name]
    assert reasons([in_table(content_of(make_filter(), tmp_path), number, value)]) == [reason]


def test_sizes_whose_products_are_huge_are_refused_by_the_same_length(
    tmp_path: Path, reasons: Reader
) -> None:
    layers = [(4096, 1, 1), (4096, 1024, 2**31 - 1), *[(4096, 1, 1)] * 14]
    content = changed(content_of(make_filter(), tmp_path), encoder_layers=16, image_size=1024)
    for i, layer in enumerate(layers):
        for k, number in enumerate(layer):
            content = in_table(content, 3 * i + k, number)
    (reason,) = reasons([content])
    assert int(reason.split()[2]) > 4 * 4096**2 * 1024**2
    assert reason.endswith(f"bytes for the sizes in the header, got {len(content)}")
    wide = changed(content_of(AGENTS["no layers"], tmp_path), image_size=1024)
    assert reasons([in_table(changed(wide, encoder_layers=1), 0, 4096)])[0] != "ok"
    assert "length: expected" in reasons([wide])[0]


def test_numbers_that_are_not_finite_are_refused_by_the_name_of_their_tensor(
    tmp_path: Path, reasons: Reader
) -> None:
    weights = make_filter()
    content, at = content_of(weights, tmp_path), TABLE + 24
    names, mutants = [], []
    for name, tensor in weights.named_tensors().items():
        at = (at + 63) // 64 * 64 + 4 * tensor.numel()  # behind the tensor
        for first, value in ((at - 4, math.nan), (at - 4 * tensor.numel(), -math.inf)):
            names.append(name)
            mutants.append(
                sealed(content[:first] + struct.pack("<f", value) + content[first + 4 :])
            )
    reason = "{}: expected finite values, got 1 NaN or infinite"
    assert reasons(mutants) == [reason.format(name) for name in names]
    assert names[-1] == "posterior_bias"


def test_other_lengths_are_refused(tmp_path: Path, reasons: Reader) -> None:
    content = content_of(SMALLEST_AGENT, tmp_path)
    cut = [content[:size] for size in range(len(content))]
    assert all("truncated" in reason for reason in reasons(cut)[8:])
    # Also where length and checksum were made to fit.
    longer = [content + bytes(count) for count in (1, 3, 4, 64, 5000)]
    fitted = reasons([sealed(part) for part in (*cut[132:], *longer)])
    assert all("for the sizes in the header" in reason for reason in fitted)


def test_both_readers_say_the_same_of_arbitrary_changes(tmp_path: Path, reasons: Reader) -> None:
    chosen = random.Random(4)
    contents = [content_of(agent, tmp_path) for agent in (SMALLEST_AGENT, make_filter())]
    places = [*range(8, 128, 4), *[84, 88, 92] * 5, *range(TABLE, TABLE + 24, 4), *[TABLE] * 5]
    words = [0, 1, 2, 3, 4, 5, 8, 9, 16, 17, 1024, 1025, 4096, 4097, 2**31 - 1, 2**31, HUGE]
    mutants = []
    for _ in range(2000):
        mutant = bytearray(chosen.choice(contents))
        for _ in range(chosen.randint(1, 3)):
            at = chosen.choice(places)
            mutant[at : at + 4] = struct.pack("<I", chosen.choice(words))
        if chosen.random() < 0.2:
            del mutant[chosen.randrange(132, len(mutant)) :]
        mutants.append(sealed(bytes(mutant)) if chosen.random() < 0.9 else bytes(mutant))
    accepted = reasons(mutants).count("ok")
    assert 0 < accepted < len(mutants) // 2
