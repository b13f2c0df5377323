"""Files that commands read and write: refused by name before any work, in one line."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from small_run import train

pytest.importorskip("tyro", reason="the command line needs the train extra")

from planet.cli import main


def refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert main(arguments) == 1
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1
    return captured.err


@pytest.mark.parametrize(
    "arguments",
    [
        ["export", "no-run", "{path}"],
        ["profile", "--steps", "1", "--json", "{path}"],
        ["profile", "--steps", "1", "--plot", "{path}"],
    ],
)
def test_what_is_no_regular_file_is_refused_before_any_work(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link.png").symlink_to("/dev/null")
    for path, kind in (
        (Path("/dev/null"), "a character device"),
        (tmp_path / "link.png", "a character device"),
        (tmp_path / "pipe", "a named pipe"),
        (tmp_path, "a directory"),
    ):
        given = [argument.format(path=path) for argument in arguments]
        assert f"{path}: expected a regular file, got {kind}" in refused(given, capsys)
    assert os.path.exists("/dev/null") and not os.path.isfile("/dev/null")


@pytest.mark.parametrize("name", ["scores.json", "learning_curve.png", "evaluation.mp4"])
def test_evaluate_refuses_what_it_could_not_write_before_it_plays(
    name: str, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    (run / name).unlink(missing_ok=True)
    (run / name).mkdir()
    message = refused(["evaluate", str(run)], capsys)
    assert f"{run / name}: expected a regular file, got a directory" in message


def test_pictures_and_videos_go_behind_links(trained: Path, tmp_path: Path) -> None:
    run, disk = tmp_path / "run", tmp_path / "disk"
    shutil.copytree(trained, run)
    disk.mkdir()
    for name in ("scores.json", "learning_curve.png", "evaluation.mp4"):
        (run / name).unlink(missing_ok=True)
        (run / name).symlink_to(disk / name)
    assert main(["evaluate", str(run), "--episodes", "1"]) == 0
    assert sorted(os.listdir(disk)) == ["evaluation.mp4", "learning_curve.png", "scores.json"]
    assert all(
        (disk / name).stat().st_size and (run / name).is_symlink() for name in os.listdir(disk)
    )


def test_broken_settings_are_one_line_with_the_file(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    for content in (b"{", b"\xff\xfe"):
        (run / "config.json").write_bytes(content)
        for command, *arguments in (
            ["train", "--directory", str(run)],
            ["evaluate", str(run)],
            ["export", str(run), str(tmp_path / "weights")],
        ):
            message = refused([command, *arguments], capsys)
            assert f"planet {command}: {run / 'config.json'}: " in message
        assert (run / "config.json").read_bytes() == content


def test_lost_lines_are_refused_and_can_be_accepted(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    (run / "metrics.jsonl").unlink()
    assert main(train(run)) == 1
    message = capsys.readouterr().err
    assert f"{run / 'metrics.jsonl'}: expected the" in message and "--accept-losses" in message
    assert main(train(run, "--accept-losses")) == 0
    assert main(train(run)) == 0
