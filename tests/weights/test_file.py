"""Checks that what is written comes back, and nothing else is accepted, in Python and in C++."""

from __future__ import annotations

import math
import os
import random
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from processes import run
from random_weights import PRESET_SIZES, TINY, Sizes, make_weights
from weight_files import (
    HEADER,
    NAMES,
    SETTINGS,
    SMALLEST,
    SMALLEST_AGENT,
    Reader,
    changed,
    content_of,
    sealed,
)

from planet.config import CEMConfig, ImaginationConfig, TrainConfig
from planet.ops.kernels import tensors
from planet.planning import CEMPlanner
from planet.weights.file import WeightFileError, load_settings, load_weights, save_weights

MODELS = {
    "tiny": make_weights(TINY, min_stddev=0.3),
    "elu, reward of one layer": make_weights(Sizes(9, 4, 1, 17, ()), activation="elu"),
    "reward of four layers": make_weights(Sizes(33, 7, 3, 20, (31, 16, 5))),
    "paper": make_weights(PRESET_SIZES["paper"]),
    "ssm": make_weights(Sizes(0, 3, 2, 5, (4,)), activation="elu", stddev="clamp"),
    "continuation": make_weights(Sizes(5, 3, 2, 7, (6,), continuation=True)),
    "continuation of one layer": make_weights(Sizes(0, 3, 2, 7, (), continuation=True)),
}


# --- what is written comes back ---


@pytest.mark.parametrize("name", list(MODELS))
def test_weights_come_back_as_saved(tmp_path: Path, name: str) -> None:
    weights, path = MODELS[name], tmp_path / "model.weights"
    for _ in range(2):  # also over an existing file
        save_weights(weights, path, SETTINGS)
    loaded = load_weights(path)
    assert load_settings(path) == SETTINGS
    for field in ("transition", "activation", "gru_reset", "stddev", "min_stddev"):
        assert getattr(loaded, field) == getattr(weights, field)
    pairs = list(zip(tensors(loaded), tensors(weights), strict=True))
    assert all(torch.equal(a, b) for a, b in pairs)
    assert os.listdir(tmp_path) == ["model.weights"]


# H, J, K, I, initial stddev, low, high, values of lists, spread, epsilon, state noise, discount,
# precision, budget, action repeat, exploration's stddev and render size of a file without settings;
# colour, numerics, decay, E, momentum, temperature, output, shift and the planner's name.
DEFAULTS = (
    "12 1000 100 10 1 -1 1 0 0 0 9.9999999999999995e-07 1 1 0 inf 0 0.300000012 0 "
    "0 0 1 0 0 0 0 0 cem"
)


def test_the_defaults_in_cpp_are_the_planner_s() -> None:
    planner, plan = CEMPlanner(), CEMConfig()
    rollouts = ImaginationConfig().on("cpu")
    values = [*DEFAULTS.split()]
    assert [int(word) for word in values[:4]] == [
        planner.horizon, planner.candidates, planner.topk, planner.iterations
    ]  # fmt: skip
    assert [float(word) for word in values[4:7]] == [
        planner.initial_stddev, plan.low, plan.high
    ]  # fmt: skip
    assert (planner.spread, rollouts.precision, plan.budget_ms) == ("population", "fp32", None)
    assert float(values[10]) == planner.epsilon
    assert (rollouts.state_noise, rollouts.discount) == (True, 1.0)
    assert float(values[16]) == pytest.approx(TrainConfig().exploration_stddev, rel=1e-7)


@pytest.mark.parametrize("name", list(MODELS))
def test_cpp_reads_what_python_wrote(tmp_path: Path, name: str, read_in_cpp: Reader) -> None:
    weights = MODELS[name]
    value = 0xCBF29CE484222325
    for word in np.concatenate([t.numpy().ravel() for t in tensors(weights)]).view(np.uint32):
        value = ((value ^ int(word)) * 0x100000001B3) % 2**64
    rows = " ".join(map(str, weights.sizes.reward_rows))
    assert read_in_cpp([content_of(weights, tmp_path)]) == [
        f"ok D{weights.belief_size} S{weights.state_size} A{weights.action_size} "
        f"M{weights.hidden_size} {weights.activation} {weights.stddev} "
        f"{np.float32(weights.min_stddev):.9g} {rows} {value:016x} {DEFAULTS}"
    ]
    with_settings = read_in_cpp([content_of(weights, tmp_path, SETTINGS)])[0]
    assert with_settings.endswith(
        f"{value:016x} 7 300 30 4 0.5 -1 0.75 2 0 1 0.0001 0 0.90000000000000002 1 12.5 4 0.25 64 "
        "0.25 1 1.5 3 0.10000000000000001 0.75 1 2 my planner"
    )


def test_layout_is_the_documented_one(tmp_path: Path) -> None:
    weights, text = MODELS["tiny"], b'{\n "horizon": 7,\n "budget_ms": null\n}'
    content = content_of(weights, tmp_path, {"horizon": 7, "budget_ms": None})
    header = dict(zip(NAMES, HEADER.unpack_from(content), strict=True))
    assert header == {
        "magic": b"PLANETWF", "version": 2, "transition": 0, "length": len(content),
        "min_stddev": 0.3, "activation": 0, "belief": 5, "state": 3, "action": 2, "hidden": 7,
        "reward_layers": 3, "width0": 6, "width1": 4, "width2": 1, "width3": 0,
        "stddev": 0, "delta": 0, "settings_bytes": len(text),
        "encoder_layers": 0, "image_size": 0, "bit_depth": 0,
    }  # fmt: skip
    assert content[96:128] == bytes(32)
    end = 128 + len(text)
    assert content[128:end] == text
    for tensor in tensors(weights):
        start = (end + 63) // 64 * 64
        assert content[end:start] == bytes(start - end)
        end = start + 4 * tensor.numel()
        assert content[start:end] == tensor.numpy().tobytes()
    assert content[end:] == struct.pack("<I", zlib.crc32(content[:end]))


def test_files_of_format_1_are_read_and_have_no_settings(
    tmp_path: Path, read_in_cpp: Reader
) -> None:
    # As it was written before: no settings, no stddev.
    weights = MODELS["tiny"]
    new = content_of(weights, tmp_path)
    old = changed(new[:128] + new[192:], version=1, settings_bytes=0)
    path = tmp_path / "old"
    path.write_bytes(old)
    assert load_settings(path) == {}
    loaded = load_weights(path)
    assert (loaded.stddev, loaded.min_stddev) == ("add", 0.3)
    pairs = zip(tensors(loaded), tensors(weights), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    assert read_in_cpp([old]) == read_in_cpp([new])


def test_what_is_no_snapshot_is_refused_and_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "model.weights"
    save_weights(MODELS["tiny"], path)
    before = path.read_bytes()
    with pytest.raises(
        TypeError, match=r"weights: expected RolloutWeights or FilterWeights, got dict"
    ):
        save_weights({}, path)  # type: ignore[arg-type]
    assert path.read_bytes() == before


# --- nothing else is accepted ---

HUGE = 2**32 - 1
REFUSED = {
    "newer": ({"version": 3},
              "version: written by a newer planet (format 3, this one reads up to 2)"),
    "version 0": ({"version": 0}, "version: expected 1 to 2, got 0"),
    "magic": ({"magic": b"PLANETCK"}, "magic: expected PLANETWF, got no weight file (2376 bytes)"),
    "stddev": ({"stddev": 2}, "stddev: expected 0 to 1, got 2"),
    "stddev of format 1": ({"version": 1, "stddev": 1}, "stddev: expected 0, got 1"),
    "delta": ({"delta": 1},
              "delta: residual transitions are not available yet; expected 0, got 1"),
    "no delta": ({"delta": 2}, "delta: expected 0 to 1, got 2"),
    "settings": ({"settings_bytes": 65537}, "settings_bytes: expected 0 to 65536, got 65537"),
    "settings of format 1": ({"version": 1}, "settings_bytes: expected 0, got 2"),
    "longer settings": ({"settings_bytes": 65}, "length: expected 2440 bytes for the sizes in the "
                                                "header, got 2376"),
    "other settings": ({"settings_bytes": 3}, "settings: expected a flat JSON object of numbers, "
                       "strings, true, false, null and lists of numbers"),
    "continuation of format 1": ({"version": 1, "width2": 2},
                                 "reward_widths[2]: expected 1, got 2"),
    "transition": ({"transition": 2}, "transition: expected 0 to 1, got 2"),
    "activation": ({"activation": 9}, "activation: expected 0 to 1, got 9"),
    "no belief": ({"belief": 0}, "belief: expected 1 to 512, got 0"),
    "large belief": ({"belief": 513}, "belief: expected 1 to 512, got 513"),
    "huge state": ({"state": HUGE}, f"state: expected 1 to 512, got {HUGE}"),
    "huge action": ({"action": 2**31}, f"action: expected 1 to 512, got {2**31}"),
    "no hidden": ({"hidden": 0}, "hidden: expected 1 to 512, got 0"),
    "no layers": ({"reward_layers": 0}, "reward_layers: expected 1 to 4, got 0"),
    "five layers": ({"reward_layers": 5}, "reward_layers: expected 1 to 4, got 5"),
    "width": ({"width1": HUGE}, f"reward_widths[1]: expected 1 to 512, got {HUGE}"),
    "last width": ({"width2": 3}, "reward_widths[2]: expected 1 to 2, got 3"),
    "no last width": ({"width2": 0}, "reward_widths[2]: expected 1 to 2, got 0"),
    "unused width": ({"width3": 1}, "reward_widths[3]: expected 0, got 1"),
    "belief of ssm": ({"transition": 1}, "belief: expected 0, got 5"),
    "other sizes": ({"hidden": 8}, "length: expected 2440 bytes for the sizes in the header, "
                                   "got 2376"),
    "negative": ({"min_stddev": -0.1},
                 "min_stddev: expected a finite float32 value >= 0, got -0.1"),
    "nan": ({"min_stddev": math.nan},
            "min_stddev: expected a finite float32 value >= 0, got nan"),
    "infinite": ({"min_stddev": math.inf},
                 "min_stddev: expected a finite float32 value >= 0, got inf"),
    "not a float32": ({"min_stddev": 1e300},
                      "min_stddev: expected a finite float32 value >= 0, got 1e+300"),
}  # fmt: skip


@pytest.mark.parametrize("name", list(REFUSED))
def test_wrong_headers_are_refused_by_name(tmp_path: Path, name: str, reasons: Reader) -> None:
    values, reason = REFUSED[name]
    assert reasons([changed(content_of(MODELS["tiny"], tmp_path), **values)]) == [reason]


def test_weights_that_are_not_finite_are_refused_by_name(tmp_path: Path, reasons: Reader) -> None:
    content = content_of(MODELS["tiny"], tmp_path)
    wrong = [
        sealed(content[:-8] + struct.pack("<f", value) + content[-4:])
        for value in (math.nan, math.inf, -math.inf)
    ]
    reason = "reward_biases[2]: expected finite values, got 1 NaN or infinite"
    assert reasons(wrong) == [reason] * 3


def test_other_lengths_are_refused(tmp_path: Path, reasons: Reader) -> None:
    content = content_of(SMALLEST, tmp_path)
    cut = [content[:size] for size in range(len(content))]
    longer = [content + bytes(count) for count in (1, 3, 4, 64, 5000)]
    assert all("truncated" in reason for reason in reasons(cut)[8:])
    assert all("followed by other data" in reason for reason in reasons(longer))
    # Also where length and checksum were made to fit.
    fitted = reasons([sealed(part) for part in (*cut[132:], *longer)])
    assert all("for the sizes in the header" in reason for reason in fitted)


def test_every_flipped_bit_of_the_header_and_many_others_are_found(
    tmp_path: Path, reasons: Reader
) -> None:
    content = content_of(SMALLEST_AGENT, tmp_path)
    chosen = random.Random(1)
    bits = [*range(8 * 128), *(chosen.randrange(8 * len(content)) for _ in range(500))]
    mutants = []
    for bit in bits:
        mutant = bytearray(content)
        mutant[bit // 8] ^= 1 << bit % 8
        mutants.append(bytes(mutant))
    assert "ok" not in reasons(mutants)


def test_both_readers_say_the_same_of_arbitrary_changes(tmp_path: Path, reasons: Reader) -> None:
    chosen = random.Random(2)
    contents = [content_of(MODELS[name], tmp_path) for name in ("tiny", "ssm")]
    words = [0, 1, 2, 3, 4, 5, 511, 512, 513, 2**16, 2**31 - 1, 2**31, HUGE]
    mutants = []
    for _ in range(2000):
        mutant = bytearray(chosen.choice(contents))
        for _ in range(chosen.randint(1, 3)):
            at = chosen.randrange(8, 128, 4)
            mutant[at : at + 4] = struct.pack("<I", chosen.choice(words))
        if chosen.random() < 0.3:
            del mutant[chosen.randrange(132, len(mutant)) :]
        mutants.append(sealed(bytes(mutant)) if chosen.random() < 0.9 else bytes(mutant))
    reasons(mutants)


def test_paths_that_cannot_be_read_are_explained(reader_program: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    good = tmp_path / "good"
    save_weights(MODELS["tiny"], good)
    paths = [tmp_path / "absent", tmp_path, tmp_path / "empty", Path("/dev/zero"), good]
    *refused, accepted = run(reader_program, *paths).stdout.splitlines()
    for path, line in zip(paths, refused, strict=False):
        assert line.startswith(f"{path}: ")
    assert "no weight file (0 bytes)" in refused[2]
    assert accepted.startswith("ok D5 S3 A2 M7 relu")
    with pytest.raises(FileNotFoundError):
        load_weights(tmp_path / "absent")
    with pytest.raises(WeightFileError, match="expected a regular file, got a directory"):
        load_weights(tmp_path)
