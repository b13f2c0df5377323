"""Signals and exceptions at any point: what is whole is saved, and nothing else."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("gymnasium", reason="the toy task is a gymnasium.Env")

from toy_runs import changed, finished, make_trainer, outcome

from planet.config import Config
from planet.envs.toy import ToyReachEnv
from planet.storage.checkpoint import load_checkpoint
from planet.training.collect import EpisodeError
from planet.training.interrupt import Interrupted, deferred_signals

SIGNALS = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}


@pytest.fixture(autouse=True)
def default_handlers() -> Iterator[None]:
    """As at a terminal; a process in the background may ignore SIGINT."""
    defaults = dict.fromkeys(SIGNALS, signal.SIG_DFL)
    defaults[signal.SIGINT] = signal.default_int_handler  # type: ignore[assignment]
    own = {number: signal.signal(number, default) for number, default in defaults.items()}
    yield
    assert {number: signal.getsignal(number) for number in SIGNALS} == defaults
    for number, handler in own.items():
        signal.signal(number, handler)


class Acting(ToyReachEnv):
    """Does something in the middle of one step."""

    def __init__(self, step: int, act: Callable[[], None]) -> None:
        super().__init__(image_size=8, control_steps=4)
        self.left, self.act = step, act

    def step(self, action: Any) -> Any:
        self.left -= 1
        if self.left == 0:
            self.act()
        return super().step(action)


def press(number: int = signal.SIGINT) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize(("number", "step"), [(n, s) for n in SIGNALS for s in (2, 10, 18)])
def test_a_signal_ends_the_run_after_the_step_and_loses_nothing(
    tiny: Config, tmp_path: Path, whole: tuple[Any, ...], number: int, step: int
) -> None:
    """In a random episode, an evaluation and a planned episode."""
    with make_trainer(tiny, tmp_path, None, Acting(step, lambda: press(number))) as trainer:
        with pytest.raises(Interrupted, match=signal.Signals(number).name) as caught:
            trainer.run()
        assert caught.value.exit_status == SIGNALS[signal.Signals(number)]
        assert trainer.saved == (trainer.episodes, trainer.learner.updates)
        assert trainer.environment.left == 0  # not one step more
        trainer.evaluate(1)  # one signal ends one run
    assert finished(tiny, tmp_path) == whole


def test_a_step_that_never_ends_costs_nothing_and_the_second_interrupt_ends_it(
    tiny: Config, tmp_path: Path, whole: tuple[Any, ...]
) -> None:
    saved: list[tuple[int, int] | None] = []

    def hang() -> None:
        press()
        saved.append(trainer.saved)
        press()
        saved.append(None)

    config = changed(tiny, checkpoint_interval=100)
    with (
        make_trainer(config, tmp_path, None, Acting(18, hang)) as trainer,
        pytest.raises(KeyboardInterrupt),
    ):
        trainer.run()
    assert saved == [(3, 7)]  # by the first one, and nothing after the second
    assert finished(tiny, tmp_path) == whole


def test_a_signal_inside_an_update_leaves_no_half_updated_parameters(
    tiny: Config, tmp_path: Path, whole: tuple[Any, ...]
) -> None:
    with make_trainer(tiny, tmp_path) as trainer:
        step = trainer.learner.optimizer.step

        def pressing(*arguments: Any) -> None:
            press()
            step(*arguments)

        trainer.learner.optimizer.step = pressing  # type: ignore[method-assign, assignment]
        with pytest.raises(Interrupted):
            trainer.run()
        assert trainer.saved == (2, 1)
    assert finished(tiny, tmp_path) == whole


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError, SystemExit])
def test_a_handler_that_raises_inside_an_update_leaves_no_half_state(
    tiny: Config,
    tmp_path: Path,
    whole: tuple[Any, ...],
    error: type[BaseException],
    caplog: pytest.LogCaptureFixture,
) -> None:
    def throw(number: int, frame: object) -> None:
        raise error

    own = signal.signal(signal.SIGTERM, throw)
    config = changed(tiny, checkpoint_updates=2)
    try:
        with make_trainer(config, tmp_path) as trainer:
            step = trainer.learner.optimizer.step

            def interrupted(*arguments: Any) -> None:
                step(*arguments)
                if trainer.learner.updates == 6:  # the optimiser has made 7
                    press(signal.SIGTERM)

            trainer.learner.optimizer.step = interrupted  # type: ignore[method-assign, assignment]
            with pytest.raises(error):
                trainer.run()
            assert "in the middle of a step, which is not saved" in caplog.text
            assert "holds 3 episodes, 6 updates" in caplog.text
            for use in (trainer.save, trainer.run):
                with pytest.raises(RuntimeError, match="in the middle of a step; close it"):
                    use()
    finally:
        signal.signal(signal.SIGTERM, own)
    assert finished(tiny, tmp_path) == whole


def test_an_error_of_the_environment_loses_nothing_that_is_whole(
    tiny: Config, tmp_path: Path, whole: tuple[Any, ...]
) -> None:
    def fail() -> None:
        raise OSError("the simulator is gone")

    config = changed(tiny, checkpoint_interval=100)
    with (
        make_trainer(config, tmp_path, None, Acting(18, fail)) as trainer,
        pytest.raises(EpisodeError, match="OSError: the simulator is gone"),
    ):
        trainer.run()
    assert load_checkpoint(tmp_path / "checkpoint.pt")["learner"]["updates"] == 7
    assert finished(tiny, tmp_path) == whole


def test_workers_that_die_of_the_same_signal_are_not_the_reason(
    tiny: Config, tmp_path: Path
) -> None:
    def die() -> None:
        press(signal.SIGTERM)
        raise EOFError("a worker has gone")

    with (
        make_trainer(tiny, tmp_path, None, Acting(18, die)) as trainer,
        pytest.raises(Interrupted, match="SIGTERM"),
    ):
        trainer.run()


def test_signals_of_the_program_and_ignored_ones_stay(tiny: Config, tmp_path: Path) -> None:
    heard: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number))
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as under nohup

    def all_three() -> None:
        press(signal.SIGTERM)
        press(signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN

    with make_trainer(tiny, tmp_path, None, Acting(3, all_three)) as trainer:
        trainer.run()
    assert heard == [signal.SIGTERM]
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def test_stop_from_another_thread_and_from_a_program_s_own_handler(
    tiny: Config, tmp_path: Path, whole: tuple[Any, ...]
) -> None:
    def from_thread() -> None:
        thread = threading.Thread(target=lambda: trainer.stop(signal.SIGTERM))
        thread.start()
        thread.join()

    for step, act in ((3, from_thread), (3, lambda: trainer.stop())):
        with (
            make_trainer(tiny, tmp_path, None, Acting(step, act)) as trainer,
            pytest.raises(Interrupted),
        ):
            trainer.run()
    assert finished(tiny, tmp_path) == whole


def test_a_signal_in_the_last_step_is_not_swallowed(tiny: Config, tmp_path: Path) -> None:
    with make_trainer(tiny, tmp_path) as trainer:
        save = trainer.save

        def pressing() -> None:
            save()
            if trainer.learner.updates == 13:
                press(signal.SIGTERM)

        trainer.save = pressing  # type: ignore[method-assign]
        with pytest.raises(Interrupted):
            trainer.run()
    before = outcome(tmp_path)
    assert finished(tiny, tmp_path) == before


def test_a_checkpoint_that_cannot_be_written_is_said_and_not_promised(
    tiny: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: Any) -> None:
        raise OSError(28, "No space left on device", "checkpoint.pt")

    def fill() -> None:
        monkeypatch.setattr("planet.training.checkpointing.save_checkpoint", full)
        press(signal.SIGTERM)

    config = changed(tiny, checkpoint_interval=100)
    with (
        make_trainer(config, tmp_path, None, Acting(18, fill)) as trainer,
        pytest.raises(OSError, match=r"No space left on device: 'checkpoint\.pt'"),
    ):
        trainer.run()


@pytest.mark.parametrize("updates", [1, 3])
def test_checkpoints_inside_a_phase_go_on_to_the_same_end(
    tiny: Config, tmp_path: Path, whole: tuple[Any, ...], updates: int
) -> None:
    saved: list[int] = []
    with make_trainer(changed(tiny, checkpoint_updates=updates), tmp_path / "seen") as trainer:
        save = trainer.save

        def keep() -> None:
            saved.append(trainer.learner.updates)
            save()
            if trainer.learner.updates == 3:
                raise KeyboardInterrupt

        trainer.save = keep  # type: ignore[method-assign]
        with pytest.raises(KeyboardInterrupt):
            trainer.run()
    assert saved == [0, 0, *range(updates, 4, updates)]
    assert finished(tiny, tmp_path / "seen") == whole


def test_handlers_that_the_block_finds_replaced_stay_replaced() -> None:
    with deferred_signals(lambda number: None):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_IGN
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
