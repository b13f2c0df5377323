"""Makes weight files that no planet wrote, and asks both readers what they say of them."""

from __future__ import annotations

import shutil
import struct
import subprocess
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from random_filters import make_filter
from random_weights import Sizes, make_weights

from planet.weights.file import WeightFileError, load_weights, save_weights
from planet.weights.filter_weights import FilterWeights
from planet.weights.rollout_weights import RolloutWeights
from planet.weights.shapes import EncoderSizes

ROOT = Path(__file__).parents[1]
COMPILER = next((c for c in ("c++", "g++", "clang++") if shutil.which(c)), None)
SANITIZERS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-g"]
HEADER = struct.Struct("<8sIIQdI4II4I6I")
NAMES = (
    "magic", "version", "transition", "length", "min_stddev", "activation", "belief", "state",
    "action", "hidden", "reward_layers", "width0", "width1", "width2", "width3",
    "stddev", "delta", "settings_bytes", "encoder_layers", "image_size", "bit_depth",
)  # fmt: skip

SETTINGS = {
    "horizon": 7, "candidates": 300, "topk": 30, "iterations": 4, "initial_stddev": 0.5,
    "low": [-1.0, -0.25], "high": 0.75, "spread": "mean_absolute", "epsilon": 1e-4,
    "state_noise": False, "discount": 0.9, "precision": "int8", "budget_ms": 12.5,
    "action_repeat": 4, "exploration_stddev": 0.25, "render_size": 64, "colour": 0.25,
    "numerics": "icem", "decay": 1.5, "keep": 3, "momentum": 0.1, "temperature": 0.75,
    "output": "best", "shift": "middle", "planner": "my planner", "note": "any text",
}  # fmt: skip

# Every part of the layout in 840 bytes, and with what filters frames in 1356.
SMALLEST = make_weights(Sizes(1, 1, 1, 1, ()))
SMALLEST_AGENT = make_filter(Sizes(1, 1, 1, 1, ()), EncoderSizes(2, 5, (1,), (2,), (1,)))

Reader = Callable[[list[bytes]], list[str]]


def content_of(
    weights: RolloutWeights | FilterWeights, folder: Path, settings: dict[str, Any] | None = None
) -> bytes:
    save_weights(weights, folder / "content", settings)
    return (folder / "content").read_bytes()


def sealed(content: bytes) -> bytes:
    """Puts in the length and the checksum that belong to the content."""
    body = content[:16] + struct.pack("<Q", len(content)) + content[24:-4]
    return body + struct.pack("<I", zlib.crc32(body))


def changed(content: bytes, **values: object) -> bytes:
    """Puts other values into the header, and a checksum that belongs to them."""
    header = dict(zip(NAMES, HEADER.unpack_from(content), strict=True)) | values
    return sealed(HEADER.pack(*header.values()) + content[HEADER.size :])


@pytest.fixture(scope="session")
def reader_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Builds the C++ reader, with sanitizers where the compiler has them."""
    if COMPILER is None or not (ROOT / "csrc").is_dir():
        pytest.skip("no C++ compiler, or no source tree")
    program = tmp_path_factory.mktemp("reader") / "read"
    core = [ROOT / "csrc" / name for name in ("settings.cpp", "weight_file.cpp")]
    sources = [ROOT / "tests" / "csrc" / "read_weight_files.cpp", *core]
    command = [COMPILER, "-std=c++20", "-O1", "-Wall", "-Wextra", "-Werror", *sources, "-o"]
    for more in (SANITIZERS, []):
        done = subprocess.run([*command, program, *more], capture_output=True, text=True)
        if done.returncode == 0 and subprocess.run([program], input=b"").returncode == 0:
            return program
    raise AssertionError(done.stderr)


@pytest.fixture(scope="session")
def read_in_cpp(reader_program: Path) -> Reader:
    """Reads many contents; a line for each: why it was refused, or what was read."""

    def read(contents: list[bytes]) -> list[str]:
        framed = b"".join(struct.pack("<Q", len(content)) + content for content in contents)
        done = subprocess.run([reader_program], input=framed, capture_output=True)
        assert done.returncode == 0, done.stderr.decode()
        lines = done.stdout.decode().splitlines()
        assert len(lines) == len(contents)
        return lines

    return read


@pytest.fixture
def reasons(tmp_path: Path, read_in_cpp: Reader) -> Reader:
    """Asks both readers, which say the same: a reason for each content, "ok" for what they take."""

    def reason(content: bytes) -> str:
        path = tmp_path / "mutant"
        path.write_bytes(content)
        try:
            load_weights(path)
        except WeightFileError as error:
            assert str(error) == f"{path}: {error.reason}"
            return error.reason
        return "ok"

    def ask(contents: list[bytes]) -> list[str]:
        received = [line if line[:3] != "ok " else "ok" for line in read_in_cpp(contents)]
        pairs = zip(contents, map(reason, contents), received, strict=True)
        assert [pair for pair in pairs if pair[1] != pair[2]] == []
        return received

    return ask
