"""Records when the stages of a control step begin and end, for profiles."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field

STAGES = (
    "filter", "images", "encoder", "belief", "posterior",
    "plan", "rollouts", "selection", "refit",
    "explore",
)  # fmt: skip
"""Stages in the order of `planet::Stage` (csrc/timeline.h)."""

WHOLE = {
    **dict.fromkeys(("images", "encoder", "belief", "posterior"), "filter"),
    **dict.fromkeys(("rollouts", "selection", "refit"), "plan"),
}
"""Stage that another one is a part of."""


@dataclass(frozen=True)
class Span:
    """Holds one run of a stage.

    Attributes:
      stage: one of `STAGES`.
      begin: nanoseconds of `time.perf_counter_ns`.
      end: likewise.
      cpu: nanoseconds of CPU time that all threads of the process used meanwhile.
      iteration: of a plan; -1 outside of one.
    """

    stage: str
    begin: int
    end: int
    cpu: int
    iteration: int = -1


@dataclass
class Timeline:
    """Collects the spans of a control step.

    Attributes:
      spans: of the newest step, in the order in which they ended.
    """

    spans: list[Span] = field(default_factory=list)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Records a span of `name`, one of `STAGES`, around the block."""
        cpu, begin = time.process_time_ns(), time.perf_counter_ns()
        yield
        end = time.perf_counter_ns()
        self.spans.append(Span(name, begin, end, time.process_time_ns() - cpu))


def stage(timeline: Timeline | None, name: str) -> AbstractContextManager[None]:
    """Returns `timeline.stage(name)`, or what does nothing without a timeline."""
    return nullcontext() if timeline is None else timeline.stage(name)
