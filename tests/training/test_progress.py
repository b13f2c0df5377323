"""Reports that fail: the work goes on, and the first failure is said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("gymnasium", reason="the toy task is a gymnasium.Env")

from toy_runs import make_trainer, outcome

from planet.config import Config
from planet.training.progress import Guarded, guarded


class Failing:
    """Fails at every call after the first few."""

    def __init__(self, calls: int, error: BaseException) -> None:
        self.left, self.error = calls, error

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: Any, **values: Any) -> None:
            self.left -= 1
            if self.left < 0:
                raise self.error

        return call


@pytest.mark.parametrize("calls", [0, 1, 3, 9, 20])
def test_a_reporter_that_fails_changes_nothing(
    tiny: Config, tmp_path: Path, whole: Any, calls: int, caplog: pytest.LogCaptureFixture
) -> None:
    error = BrokenPipeError(32, "Broken pipe") if calls % 3 else ZeroDivisionError("a bug")
    with make_trainer(tiny, tmp_path, Failing(calls, error)) as trainer:
        trainer.run()
    assert outcome(tmp_path) == whole
    (said,) = [r.getMessage() for r in caplog.records if "progress" in r.getMessage()]
    assert type(error).__name__ in said and "the work goes on" in said


def test_the_state_is_saved_before_anything_is_said(tiny: Config, tmp_path: Path) -> None:
    seen: list[tuple[int, int] | None] = []

    class Watching(Failing):
        def __getattr__(self, name: str) -> Any:
            if trainer.learner.updates == 7 and name == "start":
                raise KeyboardInterrupt
            if trainer.learner.updates == 7 and name == "finish":
                seen.append(trainer.saved)
            return lambda *arguments, **values: None

    with (
        make_trainer(tiny, tmp_path, Watching(0, ValueError())) as trainer,
        pytest.raises(KeyboardInterrupt),
    ):
        trainer.run()
    assert seen[-1] == (3, 7)


def test_a_guard_is_not_guarded_again_and_lets_interrupts_through() -> None:
    guard = guarded(Failing(0, KeyboardInterrupt()))
    assert isinstance(guard, Guarded) and guarded(guard) is guard
    with pytest.raises(KeyboardInterrupt):
        guard.message("text")
    assert not guard.broken
    guarded(None).advance(loss=1.0)
