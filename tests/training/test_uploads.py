"""Chunks that are read ahead are those that the update would have drawn; no thread outlives it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from toy_runs import Recorder, changed, finished, make_trainer, outcome

from planet.config import Config, TrainConfig
from planet.protocols import Chunk
from planet.replay import CorruptEpisodeError, Episode, ReplayBuffer
from planet.replay.pieces import Pieces, numpys
from planet.training.uploads import Uploads, reads_ahead

CPU = torch.device("cpu")
TRAIN = TrainConfig(batch_size=3, chunk_length=4, seed=5)


@pytest.fixture
def ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    """Treats the CPU as a device that updates while the host reads."""
    monkeypatch.setattr("planet.training.uploads.reads_ahead", lambda device: True)
    monkeypatch.setattr("planet.training.uploads.pinned", numpys)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Pieces, str]]:
    """Notes what is read, and in which thread."""
    noted: list[tuple[Pieces, str]] = []
    read = Pieces.read

    def note(pieces: Pieces, *given: Any) -> Chunk:
        noted.append((pieces, threading.current_thread().name))
        return read(pieces, *given)

    monkeypatch.setattr(Pieces, "read", note)
    return noted


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    before = threading.enumerate()
    yield
    assert threading.enumerate() == before


def filled(directory: Path, episodes: int = 3, **how: Any) -> ReplayBuffer:
    buffer = ReplayBuffer(directory, **how)
    for index in range(episodes):
        buffer.add(episode(index))
    return buffer


def episode(seed: int) -> Episode:
    generator = np.random.default_rng(seed)
    reward = generator.random(9).astype(np.float32)
    reward[0] = 0.0
    image = generator.integers(0, 256, (9, 2, 2, 3), np.uint8)
    return Episode({"image": image}, np.zeros((9, 1), np.float32), reward, np.zeros(9, bool))


def same(chunk: Chunk, other: Chunk) -> bool:
    pairs = [(chunk.action, other.action), (chunk.reward, other.reward)]
    pairs.append((chunk.terminated, other.terminated))
    pairs.append((chunk.observation["image"], other.observation["image"]))
    return all(torch.equal(*pair) for pair in pairs)


@pytest.mark.usefixtures("ahead")
@pytest.mark.parametrize(
    "how", [{}, {"sampling": "recent", "recent_draws": 7}], ids=["uniform", "recent"]
)
def test_order_and_contents_are_those_without_reading_ahead(
    how: dict[str, Any], tmp_path: Path
) -> None:
    plain, buffer = filled(tmp_path / "plain", **how), filled(tmp_path / "ahead", **how)
    uploads = Uploads(CPU, TRAIN)
    for update in range(12):
        if update in (5, 6, 9):  # between two phases of learning
            for each in (plain, buffer):
                each.add(episode(update))
        expected = plain.sample(3, 4, np.random.default_rng([5, 5, update]))  # seeds.BATCH is 5
        with uploads.chunk(buffer, update) as chunk:
            assert same(chunk, expected)
        assert buffer.state_dict() == plain.state_dict()  # a checkpoint knows of no reading ahead


@pytest.mark.usefixtures("ahead")
def test_a_chunk_is_read_once_and_beside_the_update_before(
    tmp_path: Path, reads: list[tuple[Pieces, str]]
) -> None:
    buffer, uploads = filled(tmp_path), Uploads(CPU, TRAIN)
    for update in range(3):
        with uploads.chunk(buffer, update):
            pass
    main = threading.current_thread().name
    assert [name == main for _, name in reads] == [True, False, False, False]
    reads.clear()
    buffer.add(episode(7))  # what was read ahead is now another chunk's
    with uploads.chunk(buffer, 3):
        pass
    assert [name == main for _, name in reads] == [True, False]


@pytest.mark.usefixtures("ahead")
def test_what_cannot_be_read_is_said_by_the_update_that_needs_it(tmp_path: Path) -> None:
    buffer, uploads = filled(tmp_path), Uploads(CPU, TRAIN)
    with uploads.chunk(buffer, 0):
        pass
    away = tmp_path / "away"
    away.mkdir()
    for info in buffer.episodes.values():
        info.path.rename(away / info.path.name)
    with uploads.chunk(buffer, 1):  # was read while the files were there
        pass
    with pytest.raises(CorruptEpisodeError, match="cannot be read any more"):
        uploads.chunk(buffer, 2).__enter__()
    for info in buffer.episodes.values():
        (away / info.path.name).rename(info.path)
    with uploads.chunk(buffer, 2) as chunk:  # the error is not kept
        assert same(chunk, buffer.sample(3, 4, np.random.default_rng([5, 5, 2])))


@pytest.mark.usefixtures("ahead")
@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_an_update_that_fails_waits_for_what_is_being_read(
    error: type[BaseException], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    buffer, uploads = filled(tmp_path), Uploads(CPU, TRAIN)
    failed, read = threading.Event(), Pieces.read

    def late(pieces: Pieces, *given: Any) -> Chunk:
        if threading.current_thread() is not threading.main_thread():
            failed.wait(300)
        return read(pieces, *given)

    monkeypatch.setattr(Pieces, "read", late)
    with pytest.raises(error), uploads.chunk(buffer, 0):
        failed.set()
        raise error
    with uploads.chunk(buffer, 0) as chunk:  # as if nothing had happened
        assert same(chunk, buffer.sample(3, 4, np.random.default_rng([5, 5, 0])))


def test_on_a_cpu_nothing_is_read_ahead(tmp_path: Path, reads: list[tuple[Pieces, str]]) -> None:
    assert [reads_ahead(torch.device(name)) for name in ("cpu", "cuda:0")] == [False, True]
    buffer, uploads, before = filled(tmp_path), Uploads(CPU, TRAIN), threading.active_count()
    for update in range(2):
        with uploads.chunk(buffer, update):
            assert threading.active_count() == before
    assert [name for _, name in reads] == [threading.current_thread().name] * 2


@pytest.mark.parametrize("sampling", ["uniform", "recent"])
def test_a_run_that_reads_ahead_is_the_run_without_also_when_it_is_interrupted(
    sampling: str, tiny: Config, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    config = replace(changed(tiny, sampling=sampling, recent_draws=7), planner=tiny.planner)
    expected = finished(config, tmp_path / "plain")
    request.getfixturevalue("ahead")
    for moment in (None, 15, 21):  # calls of the progress, within and after a phase of learning
        directory = tmp_path / f"ahead {moment}"
        if moment is not None:
            trainer = make_trainer(config, directory, Recorder(moment))
            with trainer, pytest.raises(KeyboardInterrupt):
                trainer.run()
        finished(config, directory)
        assert outcome(directory) == expected
