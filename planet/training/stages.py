"""Reports the stages of a run, and how long the run still takes by the pace of its parts."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from planet.training.progress import Progress
from planet.training.schedule import Part


class Pace:
    """Times the parts of a run, one after the other, and estimates how long the rest takes.

    Args:
      clock: seconds from any start.

    Attributes:
      work: parts that are still to come, the one that has begun among them.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self.work: dict[Part, int] = {}
        self._clock = clock
        self._seconds: dict[Part, float] = {}
        self._counts: dict[Part, int] = {}
        self._part: Part = "random"
        self._began = 0.0

    def start(self, part: Part) -> None:
        """Says that such a part begins."""
        self._part, self._began = part, self._clock()

    def done(self) -> None:
        """Says that the part is done, and that the next of its kind begins."""
        part, now = self._part, self._clock()
        self._seconds[part] = self._seconds.get(part, 0.0) + now - self._began
        self._counts[part] = self._counts.get(part, 0) + 1
        self.work[part] = max(0, self.work.get(part, 0) - 1)
        self._began = now

    def remaining(self) -> tuple[float, bool]:
        """Returns seconds by the mean of every kind so far, and whether they are all.

        False: a kind that is still to come was never timed, and counts as nothing.
        """
        means = {part: self._seconds[part] / count for part, count in self._counts.items()}
        seconds = sum(means.get(part, 0.0) * count for part, count in self.work.items())
        if self.work.get(self._part):
            seconds -= min(self._clock() - self._began, means.get(self._part, 0.0))
        return seconds, all(part in means for part, count in self.work.items() if count)


class Stages:
    """Passes the stages of a run on, with the remaining time of the run before every step.

    A stage is one part and counts its steps, or of several parts and counts these.

    Args:
      progress: told of everything.
      clock: see `Pace`.
    """

    def __init__(self, progress: Progress, clock: Callable[[], float] = time.perf_counter) -> None:
        self._progress, self._pace = progress, Pace(clock)
        self._several = False

    def expect(self, work: Mapping[Part, int]) -> None:
        """Says what is to come; see `planet.training.schedule.work`."""
        self._pace.work = dict(work)

    def start(
        self, stage: str, total: int, part: Part = "planned", *, several: bool = False
    ) -> None:
        """Begins a stage; see `Progress`."""
        self._several = several
        self._progress.start(stage, total)
        self._pace.start(part)

    def advance(self, **values: float) -> None:
        """Ends a step; see `Progress`."""
        if self._several:
            self._pace.done()
        self.remaining(*self._pace.remaining())
        self._progress.advance(**values)

    def finish(self) -> None:
        """Ends a stage that was completed; see `Progress`."""
        if not self._several:
            self._pace.done()
        self.remaining(*self._pace.remaining())
        self._progress.finish()

    def remaining(self, seconds: float, whole: bool) -> None:
        """See `Progress`."""
        self._progress.remaining(seconds, whole)

    def message(self, text: str) -> None:
        """See `Progress`."""
        self._progress.message(text)
