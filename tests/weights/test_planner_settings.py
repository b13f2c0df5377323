"""Compares what both readers say of the settings of a weight file."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from weight_files import SETTINGS, SMALLEST, Reader, changed, content_of

from planet.weights.file import save_weights


def with_text(text: bytes, content: bytes) -> bytes:
    """Puts another text of settings into a file that has none but {}."""
    start = (128 + len(text) + 63) // 64 * 64
    moved = content[:128] + text.ljust(start - 128, b"\0") + content[192:]
    return changed(moved, settings_bytes=len(text))


TOKENS = [
    b"{", b"}", b"[", b"]", b",", b":", b'"', b"\\", b"-", b"+", b"0", b"1", b"9", b".", b"e", b"E",
    b"null", b"true", b"false", b" ", b"\n", b"\t", b"\x00", b"\x7f", b"\x80", b"\xc3\xa4",
    b"1e999", b"1e-999", b"-0", b"01", b"4.9e-324", b"9223372036854775807", b"9223372036854775808",
    b"-9223372036854775809", b"1" * 400, b"0." + b"0" * 400 + b"1", b"NaN", b"Infinity",
    b"[1, -2.5]", b"[]", b"[null]", b'"fp32"', b'"int8"', b'"population"', b'"topk"', b"{}",
    b'"icem"', b'"best"', b'"repeat"',
    *(f'"{name}"'.encode() for name in SETTINGS),
]  # fmt: skip


def test_both_readers_say_the_same_of_arbitrary_settings(tmp_path: Path, reasons: Reader) -> None:
    chosen = random.Random(3)
    content = content_of(SMALLEST, tmp_path)
    texts = [f'{{"{name}": '.encode() + token + b"}" for name in SETTINGS for token in TOKENS]
    whole = json.dumps(SETTINGS).encode()
    for _ in range(700):
        text = bytearray(chosen.choice([whole, b"{}", b'{"low": [1, 2]}', b""]))
        for _ in range(chosen.randint(1, 5)):
            at = chosen.randint(0, len(text))
            text[at : at + chosen.choice([0, 0, 1, 3])] = chosen.choice(TOKENS)
        texts.append(bytes(text))
    received = reasons([with_text(text, content) for text in texts if text])
    assert 100 < received.count("ok") < len(received) - 500


def test_what_python_writes_is_what_cpp_obeys(tmp_path: Path, read_in_cpp: Reader) -> None:
    settings = {
        "low": torch.tensor([-1.0, 0.5]), "high": [np.float32(2.0), np.int64(3)],
        "horizon": np.int64(5), "discount": np.float64(0.1), "state_noise": True, "budget_ms": None,
        "epsilon": 0, "temperature": None,
    }  # fmt: skip
    line = read_in_cpp([content_of(SMALLEST, tmp_path, settings)])[0]
    assert line.endswith(
        " 5 1000 100 10 1 -1 1 2 2 0 0 1 0.10000000000000001 0 inf 0 0.300000012 0"
        " 0 0 1 0 0 0 0 0 cem"
    )


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ([1], TypeError, "settings: expected a mapping, got list"),
        ({"horizon": 2.5}, ValueError, "settings.horizon: expected an integer, got a number"),
        ({"horizon": True}, ValueError, "settings.horizon: expected an integer, got true"),
        ({"horizon": 2**63}, ValueError, "settings.horizon: expected an integer, got a number"),
        ({"low": []}, ValueError, "settings.low: expected a number within float64's range, or a"),
        ({"low": [1, "2"]}, ValueError, "settings.low: expected a finite number, bool, None, str"),
        ({"low": np.ones((1, 1))}, ValueError, "or list of finite numbers, got array([[1.]])"),
        ({"epsilon": np.float32("nan")}, ValueError, "settings.epsilon: expected a finite number"),
        (
            {"precision": "fp64"},
            ValueError,
            "settings.precision: expected fp32, int8, fp16 or bf16, got a string",
        ),
        ({"note": "M\u00fcller"}, ValueError, "string of printable ASCII without quotes and back"),
        ({"note": 'a"b'}, ValueError, "or list of finite numbers, got 'a\"b'"),
        ({"note": object()}, ValueError, "settings.note: expected a finite number, bool, None"),
        ({"note": "x" * 65536}, ValueError, "settings: expected a text of at most 65536 bytes"),
        ({1: 2}, ValueError, "settings: expected names of printable ASCII, got 1"),
    ],
)
def test_settings_that_cannot_be_written_are_refused_by_name(
    tmp_path: Path, settings: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error) as caught:
        save_weights(SMALLEST, tmp_path / "w", settings)
    assert message in str(caught.value)
    assert os.listdir(tmp_path) == []
