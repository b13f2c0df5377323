import json
import logging
import math
import os
import re
import resource
from pathlib import Path
from typing import Any

import pytest
import torch

from planet.training.metrics import METRICS_NAME, LostLinesError, MetricsWriter, read_metrics


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
    scalars = {"a/nan": math.nan, "a/inf": math.inf, "a/one": torch.tensor([0.5]), "a/int": 3}
    MetricsWriter(tmp_path, tensorboard=False).write({"step": 1}, scalars)

    def refuse(name: str) -> None:
        raise AssertionError(name)

    text = (tmp_path / METRICS_NAME).read_text()
    line = json.loads(text, parse_constant=refuse)
    assert line == {"step": 1, "a/nan": None, "a/inf": None, "a/one": 0.5, "a/int": 3.0}
    (read,) = read_metrics(tmp_path)
    assert math.isnan(read["a/nan"]) and math.isnan(read["a/inf"]) and read["a/one"] == 0.5


@pytest.mark.parametrize("size", [2, 3, 11, 40])
def test_last_line_that_was_cut_short_is_dropped(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, size: int
) -> None:
    write_lines(MetricsWriter(tmp_path, tensorboard=False), range(1, 4))
    path = tmp_path / METRICS_NAME
    os.truncate(path, path.stat().st_size - size)
    assert [line["line"] for line in read_metrics(path)] == [1, 2]
    with caplog.at_level(logging.WARNING, "planet"):
        write_lines(MetricsWriter(tmp_path, tensorboard=False), range(3, 4))
    assert f"{path}: cut an incomplete line off the end" in caplog.text
    assert [line["line"] for line in read_metrics(path)] == [1, 2, 3]


def test_line_without_its_line_break_is_whole(tmp_path: Path) -> None:
    write_lines(MetricsWriter(tmp_path / "whole", tensorboard=False), range(1, 5))
    write_lines(MetricsWriter(tmp_path, tensorboard=False), range(1, 4))
    path = tmp_path / METRICS_NAME
    os.truncate(path, path.stat().st_size - 1)
    assert len(read_metrics(path)) == 3
    write_lines(MetricsWriter(tmp_path, tensorboard=False), range(4, 5))
    assert path.read_bytes() == (tmp_path / "whole" / METRICS_NAME).read_bytes()


def test_other_editors_line_breaks_and_byte_order_marks_are_read(tmp_path: Path) -> None:
    write_lines(MetricsWriter(tmp_path, tensorboard=False), range(1, 4))
    path = tmp_path / METRICS_NAME
    lines = read_metrics(path)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert read_metrics(path) == lines


def test_zeros_after_a_power_cut_are_dropped(tmp_path: Path) -> None:
    write_lines(MetricsWriter(tmp_path, tensorboard=False), range(1, 3))
    with open(tmp_path / METRICS_NAME, "ab") as file:
        file.write(b"\0" * 100)
    write_lines(MetricsWriter(tmp_path, tensorboard=False), range(3, 4))
    assert [line["line"] for line in read_metrics(tmp_path)] == [1, 2, 3]


DAMAGES = {
    "cut": b'"line": 2}\n',
    "zeros": b"\0" * 50 + b"\n",
    "utf-8": b'{"line": 2, "a/\xff": 1}\n',
    "text": b'{"line": 2, "a/b": "many"}\n',
    "list": b"[2]\n",
    "nested": b"[" * 100_000 + b"\n",
    "huge": b'{"line": 2, "a/b": 1' + b"0" * 5000 + b"}\n",
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_line_in_the_middle_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    write_lines(MetricsWriter(tmp_path, tensorboard=False), range(1, 4))
    path = tmp_path / METRICS_NAME
    first, _, last = path.read_bytes().splitlines(keepends=True)
    content = first + DAMAGES[damage] + last
    path.write_bytes(content)
    with caplog.at_level(logging.WARNING, "planet"):
        assert [line["line"] for line in read_metrics(path)] == [1, 3]
    assert f"{path}: damaged and left out: line 2 of the file" in caplog.text
    assert f"{path}: missing: line 2" in caplog.text
    with pytest.raises(LostLinesError, match="missing: line 2; restore the file, or give --acc"):
        MetricsWriter(tmp_path, tensorboard=False).go_back(3)
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    ("order", "fault"),
    [
        ([1, 2, 4], "missing: line 3"),
        ([3, 4, 10**15], "missing: lines 1 to 2, 5 to 999999999999999"),
        ([1, 2, 2, 3], "more than once: line 2"),
        ([1, 1, 4, 4, 5, 5], "missing: lines 2 to 3, more than once: lines 1, 4 to 5"),
        ([2, 1, 3], "lines that are not in order"),
        (list(range(1, 20_000, 2)), "missing: lines 2, 4, 6 and 9,996 more"),
    ],
)
def test_lines_that_are_missing_or_doubled_are_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, order: list[int], fault: str
) -> None:
    path = tmp_path / METRICS_NAME
    path.write_text("".join(f'{{"line": {number}}}\n' for number in order))
    with caplog.at_level(logging.WARNING, "planet"):
        assert len(read_metrics(path)) == len(order)
    assert caplog.messages == [f"{path}: {fault}"]


def test_a_run_goes_on_only_with_the_lines_that_it_counts_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    writer = MetricsWriter(tmp_path, tensorboard=False)
    write_lines(writer, range(1, 4))
    checksum, content = writer.checksum, writer.path.read_bytes()
    write_lines(writer, range(4, 6))
    faults = {
        b"": "missing: lines 1 to 3",
        content.replace(b"0.5", b"0.6"): "got others: they were changed since it was saved",
        content[10:]: "missing: line 1",
        content + content: "more than once: lines 1 to 3",
    }
    for damaged, fault in faults.items():
        writer.path.write_bytes(damaged)
        with pytest.raises(LostLinesError, match=f"the 3 lines of the checkpoint, {fault}"):
            MetricsWriter(tmp_path, tensorboard=False).go_back(3, checksum)
        assert writer.path.read_bytes() == damaged
        MetricsWriter(tmp_path, tensorboard=False).go_back(3, checksum, accept_losses=True)
        assert fault in caplog.messages[-1]
    windows = b"\xef\xbb\xbf" + content.replace(b"\n", b"\r\n")
    longer = (content + content[:20], content + b'{"line": 4}\n')
    for whole in (content, content[:-1], windows, *longer):
        writer.path.write_bytes(whole)
        MetricsWriter(tmp_path, tensorboard=False).go_back(3, checksum)
        assert writer.path.read_bytes() == content


def test_resumed_run_writes_the_same_file(tmp_path: Path) -> None:
    write_lines(MetricsWriter(tmp_path / "whole", tensorboard=False), range(1, 10))
    write_lines(MetricsWriter(tmp_path / "resumed", tensorboard=False), range(1, 8))
    writer = MetricsWriter(tmp_path / "resumed", tensorboard=False)
    writer.go_back(4)
    assert [line["line"] for line in read_metrics(writer.path)] == [1, 2, 3, 4]
    write_lines(writer, range(5, 10))
    writer.sync()
    assert writer.path.read_bytes() == (tmp_path / "whole" / METRICS_NAME).read_bytes()
    assert os.listdir(tmp_path / "resumed") == [METRICS_NAME]


def test_lines_without_a_number_stay(tmp_path: Path) -> None:
    writer = MetricsWriter(tmp_path, tensorboard=False)
    writer.go_back(0)
    writer.sync()
    assert not writer.path.exists()
    writer.write({"other": 5}, {})
    write_lines(writer, range(1, 3))
    writer.go_back(2)
    assert len(read_metrics(tmp_path)) == 3
    writer.go_back(0)
    assert read_metrics(tmp_path) == [{"other": 5}]


@pytest.mark.parametrize(
    ("counters", "scalars", "error", "message"),
    [
        ({}, {"a": 1.0}, ValueError, "counters: expected at least one, got none"),
        ({"a": 1.5}, {}, TypeError, "counters['a']: expected an int, got float"),
        ({"a": True}, {}, TypeError, "counters['a']: expected an int, got bool"),
        ({"a/b": 1}, {}, ValueError, "counters['a/b']: expected a name without a slash"),
        ({"a": 1}, {"b": 1.0}, ValueError, "scalars['b']: expected a name with a slash"),
        ({"a": 1}, {"a/b": "1"}, TypeError, "scalars['a/b']: expected a number, got '1'"),
        ({"a": 1}, {"a/b": torch.ones(2)}, TypeError, "scalars['a/b']: expected one number"),
        ({"a": 1}, {"a/b": None}, TypeError, "scalars['a/b']: expected one number, got NoneType"),
        ({"a": 1}, {"a/b": 10**400}, TypeError, "scalars['a/b']: expected one number, got int"),
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


def test_what_cannot_be_written_is_named_and_leaves_whole_lines(tmp_path: Path) -> None:
    writer = MetricsWriter(tmp_path, tensorboard=False)
    write_lines(writer, range(1, 3))
    size = writer.path.stat().st_size
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 10, limits[1]))
    try:
        with pytest.raises(OSError, match=re.escape(str(writer.path))):
            write_lines(writer, range(3, 4))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    write_lines(writer, range(3, 4))
    assert [line["line"] for line in read_metrics(tmp_path)] == [1, 2, 3]
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / METRICS_NAME).symlink_to(tmp_path / "pipe")
    with pytest.raises(ValueError, match="expected a regular file, got a named pipe"):
        MetricsWriter(tmp_path / "run")
    with pytest.raises(ValueError, match="expected a regular file, got a named pipe"):
        read_metrics(tmp_path / "run")
