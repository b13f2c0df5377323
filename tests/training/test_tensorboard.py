"""TensorBoard's curves are those of the metrics, whatever becomes of it."""

import builtins
import math
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from planet.training.metrics import METRICS_NAME, MetricsWriter, read_metrics


def write_stages(writer: MetricsWriter, numbers: range) -> None:
    """Lines as a trainer writes them: every third one learns, and updates share their number."""
    for number in numbers:
        name = ("collect/return", "train/kl", "evaluate/return")[number % 3]
        counters = {"environment_steps": 100 * number, "updates": number // 3, "line": number}
        writer.write(counters, {name: float(number), "collect/bad": math.nan})


def curves(folder: Path) -> dict[str, list[tuple[int, float]]]:
    name = "tensorboard.backend.event_processing.event_accumulator"
    module = pytest.importorskip(name, reason="TensorBoard is not installed")
    events = module.EventAccumulator(str(folder))
    events.Reload()
    return {
        tag: [(event.step, event.value) for event in events.Scalars(tag)]
        for tag in events.Tags()["scalars"]
    }


def expected_curves(last: int) -> dict[str, list[tuple[int, float]]]:
    names = {"collect/return": 0, "train/kl": 1, "evaluate/return": 2}
    return {
        name: [(n // 3 if "train" in name else 100 * n, float(n))
               for n in range(1, last + 1) if n % 3 == rest]
        for name, rest in names.items()
    }  # fmt: skip


def test_tensorboard_equals_the_lines_after_any_number_of_resumes(tmp_path: Path) -> None:
    for last in range(3, 9):
        writer = MetricsWriter(tmp_path)
        writer.go_back(last - 3)
        write_stages(writer, range(last - 2, last + 1))
    assert curves(tmp_path / "tensorboard") == expected_curves(8)
    MetricsWriter(tmp_path).go_back(4)  # a run that goes on and is killed at once
    assert curves(tmp_path / "tensorboard") == expected_curves(4)
    sizes = [path.stat().st_size for path in (tmp_path / "tensorboard").iterdir()]
    assert sum(map(bool, sizes)) == 1


def test_a_tensorboard_that_watches_the_folder_copes(tmp_path: Path) -> None:
    folder = tmp_path / "tensorboard"
    write_stages(MetricsWriter(tmp_path), range(1, 9))
    curves(folder)
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    watching = EventAccumulator(str(folder))
    watching.Reload()
    for last in (4, 5):
        writer = MetricsWriter(tmp_path)
        writer.go_back(last)
        write_stages(writer, range(last + 1, last + 4))
        watching.Reload()
        for tag, points in expected_curves(last + 3).items():
            assert [(event.step, event.value) for event in watching.Scalars(tag)] == points


def test_only_own_event_files_are_removed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pytest.importorskip("tensorboard", reason="TensorBoard is not installed")
    folder = tmp_path / "tensorboard"
    write_stages(MetricsWriter(tmp_path), range(1, 4))
    (own,) = os.listdir(folder)
    kept = [
        "events.out.tfevents.99999999999.host.1.0", "events.out.tfevents.1.planet", "notes.txt",
    ]  # fmt: skip
    for name in kept:
        (folder / name).write_bytes(b"text")
    (folder / "events.out.tfevents.1234567890.planet").symlink_to(folder / "notes.txt")
    MetricsWriter(tmp_path).go_back(3)
    assert (folder / own).stat().st_size == 0  # a TensorBoard may still watch it
    os.utime(folder / own, (0, 0))
    MetricsWriter(tmp_path).go_back(3)
    names = set(os.listdir(folder))
    assert own not in names and names > {*kept, "events.out.tfevents.1234567890.planet"}
    assert "events.out.tfevents.100000000001.planet" in names  # it sorts behind all others
    assert (folder / "notes.txt").stat().st_size
    assert "1 event files of other writers stay" in caplog.text and kept[0] in caplog.text


def test_a_linked_folder_is_left_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pytest.importorskip("tensorboard", reason="TensorBoard is not installed")
    write_stages(MetricsWriter(tmp_path / "other"), range(1, 4))
    before = os.listdir(tmp_path / "other" / "tensorboard")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "tensorboard").symlink_to(tmp_path / "other" / "tensorboard")
    write_stages(MetricsWriter(tmp_path / "run"), range(1, 4))
    assert os.listdir(tmp_path / "other" / "tensorboard") == before
    assert "expected a folder of the run's own, got a symbolic link" in caplog.text


@pytest.mark.parametrize(
    ("error", "warnings"),
    [
        (ModuleNotFoundError("No module named 'tensorboard'", name="tensorboard"), 0),
        (ModuleNotFoundError("No module named 'google'", name="google"), 1),
        (TypeError("Descriptors cannot be created directly."), 1),
        (AttributeError("module 'numpy' has no attribute 'bool8'"), 1),
        (OSError("libstdc++.so.6: version not found"), 1),
    ],
)
def test_without_a_tensorboard_that_works_there_is_json_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
    error: Exception, warnings: int,
) -> None:  # fmt: skip
    original = builtins.__import__

    def broken(name: str, *arguments: Any, **options: Any) -> Any:
        if "tensorboard" in name:
            raise error
        return original(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", broken)
    write_stages(MetricsWriter(tmp_path), range(1, 4))
    assert os.listdir(tmp_path) == [METRICS_NAME] and len(read_metrics(tmp_path)) == 3
    assert len(caplog.records) == warnings
    assert not warnings or str(error) in caplog.text


def test_a_tensorboard_that_fails_while_writing_is_given_up_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("tensorboard", reason="TensorBoard is not installed")
    writer = MetricsWriter(tmp_path)
    write_stages(writer, range(1, 3))
    shutil.rmtree(tmp_path / "tensorboard")
    write_stages(writer, range(3, 6))
    assert len(read_metrics(tmp_path)) == 5 and len(caplog.records) == 1
    assert "TensorBoard's files are not written" in caplog.text
