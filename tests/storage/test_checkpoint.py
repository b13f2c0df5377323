import contextlib
import io
import math
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
from torch import nn

from planet.storage.checkpoint import CheckpointError, load_checkpoint, save_checkpoint

DTYPES = (
    torch.float64, torch.float32, torch.float16, torch.bfloat16,
    torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool,
)  # fmt: skip


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
        "counters": [1, 0.1, True, None, "t\u00e4xt \ud800", (math.inf, -0.0, -(2**63)), {0: {}}],
        "tensors": [torch.ones(n, dtype=torch.float32).to(d) for n in (0, 3) for d in DTYPES],
        "scalar": torch.tensor(True),
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
    """Returns a checkpoint of a few bytes."""
    path = tmp_path_factory.mktemp("content") / "checkpoint.pt"
    tensor = torch.arange(4, dtype=torch.int16).reshape(2, 2)
    save_checkpoint(path, {"a": tensor, 3: [None, (-math.inf,)]})
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
    state = OrderedDict(w=weight[:2, :2])
    views = {"row": weight[3], "state": state, "six": weight[0, :1].expand(6)}
    save_checkpoint(tmp_path / "c.pt", views)
    assert (tmp_path / "c.pt").stat().st_size < 10_000
    received = load_checkpoint(tmp_path / "c.pt")
    assert torch.equal(received["row"], torch.zeros(1000))
    assert torch.equal(received["six"], torch.zeros(6))
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
        ({"a": torch.zeros(2, dtype=torch.complex64)}, "payload['a']: expected a dense tensor"),
        ({"a": torch.eye(2).to_sparse()}, "payload['a']: expected a dense tensor"),
        ({"a": torch.zeros(2, device="meta")}, "payload['a']: expected a dense tensor"),
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


# ---- Damage ------------------------------------------------------------------------------------


def refusal(path: Path, content: bytes) -> CheckpointError:
    """Returns the error over a file of this content; it is one line that names the file."""
    path.write_bytes(content)
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(path)
    assert str(caught.value) == f"{path}: {caught.value.reason}"
    assert caught.value.path == path and "\n" not in caught.value.reason
    return caught.value


def test_a_cut_and_a_flipped_bit_are_found_at_any_byte(tmp_path: Path, content: bytes) -> None:
    for size in range(len(content)):
        assert refusal(tmp_path / "c.pt", content[:size]).damaged
        changed = bytearray(content)
        changed[size] ^= 1 << size % 8
        assert refusal(tmp_path / "c.pt", bytes(changed)).damaged or 8 <= size < 12


@pytest.mark.parametrize(
    ("change", "damaged", "reason"),
    [
        (lambda c: b"", True, "magic: expected PLANETCK, got no checkpoint (0 bytes)"),
        (lambda c: bytes(len(c)), True, "magic: expected PLANETCK, got no checkpoint ("),
        (lambda c: c[:20], True, "length: expected at least 28 bytes, got 20: the file is trunc"),
        (lambda c: c[:-1], True, "length: expected "),
        (lambda c: c + b"\0", True, "length: expected "),
        (lambda c: c[:-4] + bytes(4), True, "checksum: expected 00000000, got "),
        (lambda c: c[:8] + b"\1" + c[9:], False, "version: expected 2, got 1"),
        (lambda c: c[:8] + b"\3" + c[9:], False, "version: written by a newer planet (format 3, "),
    ],
)
def test_damage_and_other_formats_are_told_apart(
    tmp_path: Path, content: bytes, change: Callable[[bytes], bytes], damaged: bool, reason: str
) -> None:
    error = refusal(tmp_path / "c.pt", change(content))
    assert error.reason.startswith(reason) and error.damaged == damaged


def test_archives_of_the_older_format_are_named_and_none_of_their_code_is_run(
    tmp_path: Path,
) -> None:
    class Attack:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(tmp_path / "attacked"),)

    archive = io.BytesIO()
    torch.save({"payload": Attack()}, archive)
    error = refusal(tmp_path / "c.pt", archive.getvalue())
    assert error.reason == "version: written by an older planet (format 1, this one reads 2)"
    assert not error.damaged and os.listdir(tmp_path) == ["c.pt"]


def test_a_name_that_is_no_regular_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "c.pt")
    with pytest.raises(CheckpointError, match=r"c\.pt: expected a regular file, got a named pipe"):
        load_checkpoint(tmp_path / "c.pt")


# ---- Content that somebody made up, with a right checksum ---------------------------------------


def sealed(text: bytes, tensors: bytes = b"") -> bytes:
    """Makes an intact checkpoint with another text and other tensors."""
    size = 28 + len(text) + len(tensors)
    body = struct.pack("<8sIIQ", b"PLANETCK", 2, len(text), size) + text + tensors
    return body + struct.pack("<I", zlib.crc32(body))


def test_layout_is_the_documented_one(content: bytes) -> None:
    text = b'{"dict": [["a", {"tensor": ["int16", [2, 2]]}], [3, [null, {"tuple": [-Infinity]}]]]}'
    assert content == sealed(text, np.arange(4, dtype="<i2").tobytes())


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "JSONDecodeError"),
        (b"\xff", "UnicodeDecodeError"),
        (b"[]", "expected a dict, got list"),
        (b'{"dict": []} 1', "Extra data"),
        (b'{"dict": []}', "length: expected 40 bytes, got 52"),
        (b'{"dict": 1}', "not iterable"),
        (b'{"dict": [], "tuple": []}', "too many values"),
        (b'{"set": []}', "expected a tensor, a tuple, or a dict"),
        (b'{"dict": [[true, 1]]}', "expected a tensor, a tuple, or a dict"),
        (b'{"dict": [[{"tuple": []}, 1]]}', "expected a tensor, a tuple, or a dict"),
        (b'{"dict": [[1]]}', "not enough values"),
        (b'{"dict": [["a", ' + b"9" * 5000 + b"]]}", "integer string conversion"),
        (b'{"dict": [["a", ' + b"[" * 100_000, "recursion"),
        (b'{"tensor": ["float32", [3]]}', "expected a dict, got Tensor"),
        (b'{"tensor": ["float32", [4]]}', "a tensor of 16 bytes; 12 are left"),
        (b'{"tensor": ["float32", [2147483647, 2147483647, 2147483647]]}', "bytes; 12 are left"),
        (b'{"tensor": ["float32", [-3]]}', "shape as sizes >= 0"),
        (b'{"tensor": ["float32", [3.0]]}', "shape as sizes >= 0"),
        (b'{"tensor": ["uint8", [{"tensor": ["uint8", []]}]]}', "shape as sizes >= 0"),
        (b'{"tensor": ["float32", [0, 9223372036854775807, 9]]}', "RuntimeError"),
        (b'{"tensor": ["complex64", [1]]}', "KeyError('complex64')"),
        (b'{"tensor": ["float32"]}', "missing 1 required"),
    ],
)
def test_what_makes_no_sense_is_refused(tmp_path: Path, text: bytes, reason: str) -> None:
    error = refusal(tmp_path / "c.pt", sealed(text, bytes(12)))
    assert error.reason.startswith("content cannot be understood: ") and reason in error.reason
    assert not error.damaged


def test_every_error_of_changed_content_is_a_checkpoint_error(
    tmp_path: Path, content: bytes
) -> None:
    generator = np.random.default_rng(0)
    for _ in range(300):
        changed = bytearray(content)
        for _ in range(generator.integers(1, 4)):
            changed[generator.integers(12, len(content) - 4)] = generator.integers(32, 127)
        changed[16:24] = content[16:24]
        changed[-4:] = struct.pack("<I", zlib.crc32(changed[:-4]))
        (tmp_path / "c.pt").write_bytes(changed)
        with contextlib.suppress(CheckpointError):
            load_checkpoint(tmp_path / "c.pt")
