"""Files of a run that are damaged or missing; kills while checkpoints change."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("gymnasium", reason="the toy task is a gymnasium.Env")

from toy_runs import NEWEST, PREVIOUS, changed, finished, make_trainer, outcome, refused

from planet.config import Config
from planet.experiments.run import open_run
from planet.storage.checkpoint import load_checkpoint
from planet.training.checkpointing import Checkpoints

# ---- The previous checkpoint -------------------------------------------------------------------


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "missing"])
def test_the_previous_checkpoint_is_used_aloud_and_leads_to_the_same_end(
    tiny: Config, run: Path, whole: tuple[Any, ...], damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    newest = run / NEWEST
    data = bytearray(newest.read_bytes())
    data[len(data) // 2] ^= 1
    newest.unlink()
    if damage != "missing":
        newest.write_bytes({"cut": data[:-50], "flipped": data, "empty": b""}[damage])
    assert open_run(run).episodes == 3
    for name in (NEWEST, PREVIOUS, "is used instead: 3 episodes, 7 updates"):
        assert name in caplog.text
    assert finished(tiny, run) == whole


def test_a_damaged_checkpoint_never_replaces_the_previous_one(tiny: Config, run: Path) -> None:
    (run / NEWEST).write_bytes(b"damaged")
    good = (run / PREVIOUS).read_bytes()
    with make_trainer(tiny, run) as trainer:
        trainer.save()
        assert (run / PREVIOUS).read_bytes() == good
        assert load_checkpoint(run / NEWEST)["episodes"] == 3


@pytest.mark.parametrize("name", [NEWEST, PREVIOUS])
def test_a_name_that_cannot_be_replaced_is_refused_before_any_work(
    tiny: Config, run: Path, name: str
) -> None:
    (run / name).unlink()
    (run / name).mkdir()
    refused(tiny, run, rf"{name}: expected a regular file, got a directory")
    (run / name).rmdir()
    (run / name).symlink_to({NEWEST: PREVIOUS, PREVIOUS: NEWEST}[name])
    refused(tiny, run, rf"{PREVIOUS}: expected a file of its own, got .*{NEWEST}")


def test_links_to_checkpoints_stay(tiny: Config, run: Path, whole: tuple[Any, ...]) -> None:
    elsewhere = run.parent / "elsewhere"
    elsewhere.mkdir()
    for name in (NEWEST, PREVIOUS):
        (run / name).rename(elsewhere / name)
        (run / name).symlink_to(elsewhere / name)
    assert finished(tiny, run) == whole
    assert all((run / name).is_symlink() for name in (NEWEST, PREVIOUS))
    assert sorted(path.name for path in elsewhere.iterdir()) == [PREVIOUS, NEWEST]
    assert load_checkpoint(elsewhere / PREVIOUS)["episodes"] == 4


def test_a_checkpoint_that_cannot_be_written_leaves_the_former_two_and_nothing_else(
    tiny: Config, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with make_trainer(tiny, run) as trainer:
        before = {name: (run / name).read_bytes() for name in (NEWEST, PREVIOUS)}
        names = sorted(os.listdir(run))

        def full(descriptor: int) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        with monkeypatch.context() as patch, pytest.raises(OSError, match=NEWEST):
            patch.setattr("planet.storage.atomic.os.fsync", full)
            Checkpoints.save(trainer._files.checkpoints, trainer._state())
        assert {name: (run / name).read_bytes() for name in before} == before
        assert sorted(os.listdir(run)) == names


@pytest.mark.parametrize("name", ["episodes", "metrics.jsonl"])
def test_what_cannot_be_written_is_refused_before_any_work(
    tiny: Config, run: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, closed = os.access, str(run / name)
    monkeypatch.setattr(os, "access", lambda path, mode: str(path) != closed and real(path, mode))
    refused(tiny, run, name, PermissionError)


def test_both_checkpoints_damaged_are_both_named(tiny: Config, run: Path) -> None:
    for name in (NEWEST, PREVIOUS):
        (run / name).write_bytes(b"damaged")
    refused(tiny, run, f"{NEWEST}: magic: .*{PREVIOUS}: magic: ")


class Killed(BaseException):
    """The end of the process."""


@pytest.mark.parametrize("links", [True, False])
def test_a_kill_at_any_change_of_a_name_leaves_a_whole_checkpoint(
    tiny: Config, run: Path, links: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the file system has no hard links."""
    calls: Iterator[bool] = iter(())

    def dying(name: str) -> Callable[..., Any]:
        real = getattr(os, name)

        def call(*arguments: Any, **options: Any) -> Any:
            if next(calls, False):
                raise Killed
            if name == "link" and not links:
                raise PermissionError(1, "no hard links")
            return real(*arguments, **options)

        return call

    for name in ("link", "replace", "unlink", "fsync"):
        monkeypatch.setattr(os, name, dying(name))
    deaths = 0
    for point in range(20):
        trainer = make_trainer(tiny, run)
        trainer._lines += 1  # another state
        calls = iter([False] * point + [True])
        try:
            trainer.save()
        except Killed:
            deaths += 1
        calls = iter(())
        trainer.close()
        load_checkpoint(run / PREVIOUS)
        loaded = Checkpoints(run).load()
        assert loaded is not None and loaded[0] == run / NEWEST
    assert deaths >= 5


def test_a_run_goes_on_where_the_working_directory_changes(
    tiny: Config, tmp_path: Path, whole: tuple[Any, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with make_trainer(tiny, Path("run")) as trainer:
        monkeypatch.chdir("/")
        trainer.run()
    assert outcome(tmp_path / "run") == whole


# ---- Missing -----------------------------------------------------------------------------------


def test_a_run_without_its_checkpoints_is_not_started_over(tiny: Config, run: Path) -> None:
    for name in (NEWEST, PREVIOUS):
        (run / name).unlink()
    message = r"checkpoint\.pt is missing, .*episode.* and 2 more of a run are there; put it back"
    refused(tiny, run, message, FileNotFoundError)
    shutil.rmtree(run / "episodes")
    refused(tiny, run, r"but metrics\.jsonl of a run are there", FileNotFoundError)
    (run / "metrics.jsonl").unlink()
    make_trainer(tiny, run).close()


def test_a_kill_before_the_first_episode_is_no_obstacle(
    tiny: Config, tmp_path: Path, whole: tuple[Any, ...]
) -> None:
    make_trainer(tiny, tmp_path).close()  # config.json and no checkpoint
    assert finished(tiny, tmp_path) == whole


def test_a_run_goes_on_without_its_metrics_where_that_is_accepted(
    tiny: Config, run: Path, whole: tuple[Any, ...], caplog: pytest.LogCaptureFixture
) -> None:
    (run / "metrics.jsonl").unlink()
    refused(tiny, run, r"metrics\.jsonl: expected the \d+ lines .*missing: lines 1 to", ValueError)
    with make_trainer(tiny, run, accept_losses=True) as trainer:
        trainer.run()
    lines, *rest = outcome(run)
    assert rest == list(whole[1:])
    assert lines == [line for line in whole[0] if line["line"] >= lines[0]["line"]]
    assert "goes on without them" in caplog.text


def test_missing_settings_are_compared_with_the_checkpoint(tiny: Config, run: Path) -> None:
    (run / "config.json").unlink()
    refused(changed(tiny, learning_rate=0.5), run, r"checkpoint\.pt: the run was started with")
    make_trainer(tiny, run).close()
    assert Config.from_dict(json.loads((run / "config.json").read_text())) == tiny


def test_removed_episodes_are_refused_unless_that_is_accepted(
    tiny: Config, run: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (run / "episodes" / "episode-000001.planet").unlink()
    refused(tiny, run, r"lost 1: episode-000001\.planet \(No such file", ValueError)
    with make_trainer(tiny, run, accept_losses=True) as trainer:
        assert len(trainer.replay.episodes) == 3
        trainer.save()
    assert "episode-000001.planet" in caplog.text and "goes on without them" in caplog.text
    make_trainer(tiny, run).close()  # what was accepted once is accepted for good
    shutil.rmtree(run / "episodes")
    refused(tiny, run, "lost 3: episode-000000", ValueError)
