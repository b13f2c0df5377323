import io
import os
import re
import struct
import zlib
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from planet.checkpoint import CheckpointError, load_checkpoint, save_checkpoint


def payload() -> dict[str, Any]:
    torch.manual_seed(0)
    model = nn.Linear(3, 2)
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.ones(4, 3)).sum().backward()
    optimizer.step()
    return {
        "config": {"preset": "small", "model": {"belief_size": 200}},
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "generator": np.random.default_rng(0).bit_generator.state,  # integers of 128 bits
        "random": torch.get_rng_state(),
        "counters": [1, 2.5, True, None, "text", (float("inf"), -(2**63))],
        "half": torch.arange(3, dtype=torch.bfloat16),
    }


def assert_equal(received: Any, expected: Any) -> None:
    if isinstance(expected, torch.Tensor):
        assert received.dtype == expected.dtype
        assert torch.equal(received, expected)
    elif isinstance(expected, dict):
        assert list(received) == list(expected)
        for key in expected:
            assert_equal(received[key], expected[key])
    elif isinstance(expected, list | tuple):
        assert type(received) is type(expected) and len(received) == len(expected)
        for pair in zip(received, expected, strict=True):
            assert_equal(*pair)
    else:
        assert received == expected and type(received) is type(expected)


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("content") / "checkpoint.pt"
    save_checkpoint(path, payload())
    return path.read_bytes()


def test_checkpoint_comes_back_as_saved(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    for _ in range(2):
        save_checkpoint(path, payload())
    received = load_checkpoint(path, "cpu")
    assert_equal(received, payload())
    assert os.listdir(tmp_path) == ["checkpoint.pt"]
    optimizer = torch.optim.Adam(nn.Linear(3, 2).parameters())
    optimizer.load_state_dict(received["optimizer"])
    np.random.default_rng(1).bit_generator.state = received["generator"]
    torch.set_rng_state(received["random"])


def test_tensors_go_to_the_device(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "c.pt", {"a": [torch.ones(3)]})
    assert load_checkpoint(tmp_path / "c.pt", "meta")["a"][0].device.type == "meta"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_tensors_of_a_cuda_device_are_read_without_one(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "c.pt", {"a": torch.ones(3, device="cuda")})
    assert load_checkpoint(tmp_path / "c.pt")["a"].device.type == "cpu"
    assert load_checkpoint(tmp_path / "c.pt", "cuda")["a"].device.type == "cuda"


def test_parameters_and_views_are_stored_alone(tmp_path: Path) -> None:
    weight = nn.Parameter(torch.zeros(1000, 1000))
    save_checkpoint(tmp_path / "c.pt", {"row": weight[3], "state": OrderedDict(w=weight[:2, :2])})
    assert (tmp_path / "c.pt").stat().st_size < 10_000
    received = load_checkpoint(tmp_path / "c.pt")
    assert torch.equal(received["row"], torch.zeros(1000))
    assert not received["row"].requires_grad


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"a": [1, {"b": np.zeros(2)}]}, "payload['a'][1]['b']: expected None, bool, int"),
        ({"a": np.float64(1)}, "payload['a']: expected None, bool, int, float, str, a tensor"),
        ({"a": Path("b")}, "got pathlib"),
        ({"a": {1, 2}}, "got builtins.set"),
        ({"a": {(1, 2): 3}}, "payload['a']: expected keys of type str or int, got (1, 2)"),
        ({"a": nn.Linear(1, 1)}, "got torch.nn.modules.linear.Linear"),
    ],
)
def test_other_types_are_refused_by_key(tmp_path: Path, value: Any, message: str) -> None:
    path = tmp_path / "c.pt"
    save_checkpoint(path, {"old": 1})
    with pytest.raises(TypeError, match=re.escape(message)):
        save_checkpoint(path, value)
    assert load_checkpoint(path) == {"old": 1}
    assert os.listdir(tmp_path) == ["c.pt"]


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"absent\.pt"):
        load_checkpoint(tmp_path / "absent.pt")


def test_file_cut_anywhere_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "checkpoint.pt"
    for size in [*range(0, len(content), 97), len(content) - 1]:
        path.write_bytes(content[:size])
        with pytest.raises(CheckpointError, match=r"checkpoint\.pt: is truncated") as caught:
            load_checkpoint(path)
        assert f"({size} bytes)" in caught.value.reason


@given(position=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_flipped_bit_is_found(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, position: float, bit: int
) -> None:
    damaged = bytearray(content)
    damaged[int(position * len(content))] ^= 1 << bit
    path = tmp_path_factory.mktemp("flipped") / "checkpoint.pt"
    path.write_bytes(damaged)
    with pytest.raises(CheckpointError, match=r"checkpoint\.pt: "):
        load_checkpoint(path)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda content: b"", "is truncated or no checkpoint (0 bytes)"),
        (lambda content: content[:-16], "is truncated or no checkpoint ("),
        (lambda content: content[:500] + b"?" + content[501:], "checksum does not match"),
        (lambda content: content[:-4] + b"\0\0\0\0", "checksum does not match"),
        (
            lambda content: content[:-8] + struct.pack("<I", 2) + content[-4:],
            "format version 2 is newer than the one this release reads (1)",
        ),
        (
            lambda content: content[:-8] + struct.pack("<I", 0) + content[-4:],
            "format version 0 is not the one this release reads (1)",
        ),
    ],
)
def test_damage_is_explained(
    tmp_path: Path, content: bytes, change: Callable[[bytes], bytes], reason: str
) -> None:
    path = tmp_path / "c.pt"
    path.write_bytes(change(content))
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(path)
    assert caught.value.reason.startswith(reason)
    assert caught.value.path == path


def test_torch_alone_reads_the_file(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "c.pt", payload())
    assert_equal(torch.load(tmp_path / "c.pt", weights_only=True), payload())


def test_loading_runs_no_code(tmp_path: Path) -> None:
    class Attack:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(tmp_path / "attacked"),)

    path = tmp_path / "c.pt"
    save_checkpoint(path, {})
    stored = io.BytesIO()
    torch.save({"payload": Attack()}, stored)
    content = stored.getvalue() + path.read_bytes()[-16:-4]
    path.write_bytes(content + struct.pack("<I", zlib.crc32(content)))
    with pytest.raises(CheckpointError, match=r"c\.pt: cannot be read"):
        load_checkpoint(path)
    assert not (tmp_path / "attacked").exists()
