import builtins
import json
import logging
import math
import os
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from planet.training.metrics import METRICS_NAME, MetricsWriter, read_metrics


def write_lines(writer: MetricsWriter, numbers: range) -> None:
    for number in numbers:
        writer.write({"updates": 10 * number, "line": number}, {"train/loss": 1 / number})


def test_lines_are_readable_at_once(tmp_path: Path) -> None:
    writer = MetricsWriter(tmp_path / "run", tensorboard=False)
    for number in range(1, 4):
        write_lines(writer, range(number, number + 1))
        lines = read_metrics(tmp_path / "run")
        assert lines[-1] == {"updates": 10 * number, "line": number, "train/loss": 1 / number}
        assert len(lines) == number
    assert read_metrics(writer.path) == lines


def test_lines_are_valid_json_with_null_for_what_json_lacks(tmp_path: Path) -> None:
    scalars = {"nan": math.nan, "inf": math.inf, "tensor": torch.tensor([0.5]), "int": 3}
    MetricsWriter(tmp_path, tensorboard=False).write({"step": 1}, scalars)

    def refuse(name: str) -> None:
        raise AssertionError(name)

    text = (tmp_path / METRICS_NAME).read_text()
    line = json.loads(text, parse_constant=refuse)
    assert line == {"step": 1, "nan": None, "inf": None, "tensor": 0.5, "int": 3.0}
    (read,) = read_metrics(tmp_path)
    assert math.isnan(read["nan"]) and math.isnan(read["inf"]) and read["tensor"] == 0.5


@pytest.mark.parametrize("size", range(1, 12))
def test_last_line_that_was_cut_short_is_dropped(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, size: int
) -> None:
    write_lines(MetricsWriter(tmp_path, tensorboard=False), range(1, 4))
    path = tmp_path / METRICS_NAME
    os.truncate(path, path.stat().st_size - size)
    assert [line["line"] for line in read_metrics(path)] == [1, 2]
    with caplog.at_level(logging.WARNING, "planet"):
        writer = MetricsWriter(tmp_path, tensorboard=False)
    assert f"{path}: cut an incomplete line off the end" in caplog.text
    write_lines(writer, range(3, 4))
    assert [line["line"] for line in read_metrics(path)] == [1, 2, 3]


def test_zeros_after_a_power_cut_are_dropped(tmp_path: Path) -> None:
    write_lines(MetricsWriter(tmp_path, tensorboard=False), range(1, 3))
    with open(tmp_path / METRICS_NAME, "ab") as file:
        file.write(b"\0" * 100)
    write_lines(MetricsWriter(tmp_path, tensorboard=False), range(3, 4))
    assert [line["line"] for line in read_metrics(tmp_path)] == [1, 2, 3]


def test_damaged_line_in_the_middle_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_lines(MetricsWriter(tmp_path, tensorboard=False), range(1, 4))
    path = tmp_path / METRICS_NAME
    path.write_text(path.read_text().replace('"line": 2,', "", 1).replace("}", "", 1))
    with caplog.at_level(logging.WARNING, "planet"):
        lines = read_metrics(path)
    assert len(lines) == 2
    assert f"{path}, line 1 is damaged and left out" in caplog.text


def test_resumed_run_writes_the_same_file(tmp_path: Path) -> None:
    write_lines(MetricsWriter(tmp_path / "whole", tensorboard=False), range(1, 10))
    write_lines(MetricsWriter(tmp_path / "resumed", tensorboard=False), range(1, 8))
    writer = MetricsWriter(tmp_path / "resumed", tensorboard=False)
    writer.truncate_after("line", 4)
    assert [line["line"] for line in read_metrics(writer.path)] == [1, 2, 3, 4]
    write_lines(writer, range(5, 10))
    writer.sync()
    assert writer.path.read_bytes() == (tmp_path / "whole" / METRICS_NAME).read_bytes()
    assert os.listdir(tmp_path / "resumed") == [METRICS_NAME]


def test_truncation_keeps_lines_without_the_counter(tmp_path: Path) -> None:
    writer = MetricsWriter(tmp_path, tensorboard=False)
    writer.truncate_after("line", 0)
    writer.sync()
    assert not writer.path.exists()
    writer.write({"other": 5}, {})
    write_lines(writer, range(1, 3))
    writer.truncate_after("line", 2)
    assert len(read_metrics(tmp_path)) == 3
    writer.truncate_after("line", 0)
    assert read_metrics(tmp_path) == [{"other": 5}]


@pytest.mark.parametrize(
    ("counters", "scalars", "error", "message"),
    [
        ({}, {"a": 1.0}, ValueError, "counters: expected at least one, got none"),
        ({"a": 1.5}, {}, TypeError, "counters['a']: expected int, got float"),
        ({"a": True}, {}, TypeError, "counters['a']: expected int, got bool"),
        ({"a": 1}, {"a": 1.0}, ValueError, "scalars['a']: expected another name"),
        ({"a": 1}, {"b": "1"}, TypeError, "scalars['b']: expected a number, got '1'"),
        ({"a": 1}, {"b": torch.ones(2)}, TypeError, "scalars['b']: expected one number"),
        ({"a": 1}, {"b": None}, TypeError, "scalars['b']: expected one number, got NoneType"),
    ],
)
def test_wrong_values_are_named_and_not_written(
    tmp_path: Path, counters: Any, scalars: Any, error: type[Exception], message: str
) -> None:
    writer = MetricsWriter(tmp_path, tensorboard=False)
    with pytest.raises(error, match=re.escape(message)):
        writer.write(counters, scalars)
    assert not writer.path.exists()


def test_missing_metrics_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=METRICS_NAME.replace(".", r"\.")):
        read_metrics(tmp_path)


def test_tensorboard_shows_each_scalar_once_after_a_resume(tmp_path: Path) -> None:
    accumulator = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator",
        reason="TensorBoard is not installed",
    )
    with MetricsWriter(tmp_path) as writer:
        write_lines(writer, range(1, 8))
        writer.write({"updates": 70}, {"bad": math.nan})
    with MetricsWriter(tmp_path) as writer:
        writer.truncate_after("line", 4)
        write_lines(writer, range(5, 8))
    events = accumulator.EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert events.Tags()["scalars"] == ["train/loss"]
    points = {event.step: event.value for event in events.Scalars("train/loss")}
    assert len(events.Scalars("train/loss")) == 7
    assert points == pytest.approx({10 * number: 1 / number for number in range(1, 8)})


def test_without_tensorboard_there_is_json_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    original = builtins.__import__

    def absent(name: str, *arguments: Any, **options: Any) -> Any:
        if "tensorboard" in name:
            raise ModuleNotFoundError(f"No module named {name!r}")
        return original(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", absent)
    with MetricsWriter(tmp_path) as writer:
        write_lines(writer, range(1, 3))
    assert os.listdir(tmp_path) == [METRICS_NAME]
    assert not caplog.records
