"""Settings in files: whatever stands in one is named with the file, in one line."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from planet.config import Config, ModelConfig, presets


def test_settings_survive_the_way_through_a_file(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    for config in (presets.PRESETS["small"]("walker-walk"), Config()):
        config.save(path)
        assert Config.load(path) == config
    assert os.listdir(tmp_path) == ["config.json"]


def text(old: str = "", new: str = "") -> bytes:
    return json.dumps(Config().to_dict()).replace(old, new, 1).encode()


BROKEN = {
    "empty": (b"", "expected settings in JSON, got an empty file of 0 bytes"),
    "blank": (b" \n\n", "expected settings in JSON, got an empty file of 3 bytes"),
    "zeros": (b"\0" * 9, "expected JSON, got a fault in line 1, column 1"),
    "cut": (text()[:100], "expected JSON, got a fault in line 1, column"),
    "byte order mark": (b"\xef\xbb\xbf" + text(), "expected UTF-8 without a byte order mark"),
    "utf-16": (text().decode().encode("utf-16"), "expected UTF-8, got byte 0xff at 0"),
    "latin-1": (text().replace(b"cheetah", b"\xfc"), "expected UTF-8, got byte 0xfc"),
    "list": (b"[1]", "config: expected a table of settings, got list"),
    "null": (b"null", "config: expected a table of settings, got NoneType"),
    "deep": (b"[" * 100_000, "expected tables of settings, got too many levels of brackets"),
    "twice": (text('"task":', '"task": "a", "task":'), "every setting once, got task"),
    "nan": (text("0.1", "NaN"), "expected finite numbers, got NaN"),
    "infinity": (text("0.1", "-Infinity"), "expected finite numbers, got -Infinity"),
    "1e999": (text("0.1", "1e999"), "model.min_stddev: expected a finite value, got inf"),
    "digits": (text("30", "9" * 9999), "numbers of at most 63 bits, got one of 9,999 digits"),
    "large": (text(": 30", ": 9223372036854775808"), "model.state_size: expected a number of at"),
    "section": (text('"train": {', '"train": 3, "t": {'), "config: unknown setting ['t']"),
    "string": (text(": 64", ': "64"'), "environment.image_size: expected int, got str '64'"),
    "float": (text(": 64", ": 64.0"), "environment.image_size: expected int, got float 64.0"),
    "bool": (text(": 64", ": true"), "environment.image_size: expected int, got bool True"),
    "none": (text(": 64", ": null"), "environment.image_size: expected int, got NoneType None"),
    "sizes": (text("[32", '["32"'), "encoder_channels: expected sizes >= 1, got tuple ('32'"),
    "nested": (text("[32", "[[32]"), "encoder_channels: expected sizes >= 1, got tuple ([32]"),
    "choice": (text('"relu"', "[]"), "activation: expected one of ['relu', 'elu'], got tuple"),
    "long": (text('"relu"', '"' + "x" * 9999 + '"'), "model.activation: expected one of"),
    "unknown": (
        text('"task"', "".join(f'"{n}": 1, ' for n in range(9999)) + '"task"'),
        "environment: unknown setting ['0', '1', '10' and 9,996 more]",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
def test_what_is_wrong_with_a_file_of_settings_is_named(tmp_path: Path, case: str) -> None:
    content, message = BROKEN[case]
    path = tmp_path / "config.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"^{re.escape(str(path))}: .*{re.escape(message)}") as e:
        Config.load(path)
    assert len(str(e.value)) < 800 + len(str(path)) and "\n" not in str(e.value)
    assert path.read_bytes() == content


def test_what_is_no_file_of_settings_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="absent.json"):
        Config.load(tmp_path / "absent.json")
    message = re.escape(f"{tmp_path}: expected a regular file, got a directory")
    with pytest.raises(ValueError, match=message):
        Config.load(tmp_path)


def test_settings_of_any_size_are_refused_in_one_line() -> None:
    for value in (10**5000, -(10**5000), 2**63):
        with pytest.raises(ValueError, match="state_size: expected a number of at most 63 bits"):
            ModelConfig(state_size=value)
        with pytest.raises(ValueError, match="encoder_channels: expected sizes >= 1, got tuple"):
            ModelConfig(encoder_channels=(value,))
