import contextlib
import io
import os
import re
import struct
import zipfile
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
    views = {
        "row": weight[3],
        "state": OrderedDict(w=weight[:2, :2]),
        "six": weight[0, :1].expand(6),
    }
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


# ---- Content that somebody made up, with a right checksum ---------------------------------------


def framed(path: Path, archive: bytes) -> Path:
    """Writes a file that passes for an intact checkpoint."""
    content = archive + struct.pack("<8sI", b"PLANETCK", 1)
    path.write_bytes(content + struct.pack("<I", zlib.crc32(content)))
    return path


def stored(payload: Any) -> bytes:
    content = io.BytesIO()
    torch.save(payload, content)
    return content.getvalue()


def rebuilt(archive: bytes, compress: int = zipfile.ZIP_STORED, **entries: bytes) -> bytes:
    """The archive with other entries, by the end of their names; dots are written as __."""
    content = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as old, zipfile.ZipFile(content, "w") as new:
        for name in old.namelist():
            key = name.partition("/")[2].replace(".", "__").replace("/", "_")
            new.writestr(name, entries.get(key, old.read(name)), compress)
    return content.getvalue()


def pickled(archive: bytes) -> bytes:
    with zipfile.ZipFile(io.BytesIO(archive)) as file:
        return file.read("archive/data.pkl")


def refusal(path: Path, archive: bytes) -> str:
    with pytest.raises(CheckpointError, match=re.escape(f"{path}: cannot be read: ")) as caught:
        load_checkpoint(framed(path, archive))
    assert "\n" not in str(caught.value)
    return caught.value.reason


def test_loading_runs_no_code(tmp_path: Path) -> None:
    class Attack:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(tmp_path / "attacked"),)

    reason = refusal(tmp_path / "c.pt", stored({"payload": Attack()}))
    assert "names posix.mkdir, which no checkpoint holds" in reason
    assert not (tmp_path / "attacked").exists()


def test_compressed_entries_are_not_inflated(tmp_path: Path) -> None:
    bomb = rebuilt(stored({"a": torch.zeros(1 << 22)}), zipfile.ZIP_DEFLATED)
    assert len(bomb) < 1 << 18
    assert "is compressed" in refusal(tmp_path / "c.pt", bomb)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        # The numbers of "a": zeros(3) in the pickle are its length 3 and its size (3,).
        (b"K\x03t", b"J\xff\xff\xff\x7ft", "expected 2147483647 x torch.float32, got 3"),
        (b"K\x03\x85", b"J\xff\xff\xff\x7f\x85", "leaves its memory of 3"),
        (b"K\x03\x85", b"J\xff\xff\xff\xff\x85", "expected sizes of 0 or more"),
        (b"K\x03\x85", b"K\x02K\x02\x86", "expected as many strides as sizes"),
        (b"FloatStorage", b"DoubleStorage", "buffer"),
        (b"FloatStorage", b"ComplexFloatStorage", "names torch.ComplexFloatStorage"),
        (b"_rebuild_tensor_v2", b"_rebuild_sparse_tensor", "names torch._utils._rebuild_sparse"),
        (b"X\x01\x00\x00\x000", b"X\x01\x00\x00\x009", "archive/data/9"),
        (b"K\x03t", b"c__builtin__\nbytearray\nM\xff\xff\x85Rt", "names __builtin__.bytearray"),
        (b"K\x03t", b"\x96\x00\x00\x00\x00\xff\x00\x00\x00t", "KeyError"),  # BYTEARRAY8
        (b"}", b"]", ""),
        (b"}", b"", ""),
    ],
)  # fmt: skip
def test_what_the_pickle_claims_is_compared_with_what_is_there(
    tmp_path: Path, old: bytes, new: bytes, reason: str
) -> None:
    archive = stored({"a": torch.zeros(3)})
    changed = pickled(archive).replace(old, new)
    assert changed != pickled(archive)
    assert reason in refusal(tmp_path / "c.pt", rebuilt(archive, data__pkl=changed))


@pytest.mark.parametrize(
    "pickle", [b"", b"\x80\x02}.", b"\x80\x02K\x01.", b"\x80\x02}q\x00", b"junk"]
)
def test_a_pickle_of_something_else_is_a_named_error(tmp_path: Path, pickle: bytes) -> None:
    archive = rebuilt(stored({}), data__pkl=pickle)
    if pickle == b"\x80\x02}.":
        assert load_checkpoint(framed(tmp_path / "c.pt", archive)) == {}
    else:
        refusal(tmp_path / "c.pt", archive)


def test_containers_that_hold_themselves_or_another_twice_are_refused(tmp_path: Path) -> None:
    loop: dict[str, Any] = {}
    loop["loop"] = loop
    laughs: list[Any] = ["ha"]
    for _ in range(64):
        laughs = [laughs, laughs]
    for payload in (loop, {"a": laughs}):
        assert "twice" in refusal(tmp_path / "c.pt", stored(payload))


@pytest.mark.parametrize("end", [b"}%sNs.", b"}(%sNu.", b"}(X\1\0\0\0aN%sNu."])
def test_keys_that_take_for_ever_to_hash_are_refused_before(tmp_path: Path, end: bytes) -> None:
    laughs = b"\x80\x02)q\0" + b"".join(b"h%ch%c\x86q%c" % (n, n, n + 1) for n in range(64))
    archive = rebuilt(stored({}), data__pkl=laughs + end % b"h@")
    assert "keys that are neither str nor int" in refusal(tmp_path / "c.pt", archive)


def test_deep_nests_are_read_or_refused_without_an_end_of_the_stack(tmp_path: Path) -> None:
    deep = b"\x80\x02}X\x01\x00\x00\x00a" + b"]" * 50_000 + b"a" * 49_999 + b"s."
    archive = rebuilt(stored({}), data__pkl=deep)
    assert list(load_checkpoint(framed(tmp_path / "c.pt", archive))) == ["a"]


def test_every_error_of_changed_content_is_a_checkpoint_error(tmp_path: Path) -> None:
    archive = stored({"a": torch.arange(5), "b": [1, 2.5, None, ("text", True)]})
    generator = np.random.default_rng(0)
    for number in range(300):
        changed = bytearray(archive)
        # Half of the changes hit the pickle, which says what everything is.
        start = archive.index(b"\x80\x02}") if number % 2 else 0
        stop = start + len(pickled(archive)) if number % 2 else len(archive)
        for _ in range(generator.integers(1, 4)):
            changed[generator.integers(start, stop)] = generator.integers(256)
        content = bytes(changed)
        if number % 2:
            content = rebuilt(archive, data__pkl=content[start:stop])
        with contextlib.suppress(CheckpointError):
            load_checkpoint(framed(tmp_path / "c.pt", content))


def test_a_name_that_is_no_regular_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "c.pt")
    with pytest.raises(CheckpointError, match="is no regular file"):
        load_checkpoint(tmp_path / "c.pt")
