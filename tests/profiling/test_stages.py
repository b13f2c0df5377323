"""Spans of a step by stage and by iteration."""

from __future__ import annotations

from planet.acting.timeline import Span
from planet.profiling.stages import by_iteration, by_stage, stages_of

MILLISECOND = 1_000_000


def span(stage: str, milliseconds: float, cpu: float, iteration: int = -1) -> Span:
    begin = 7 * MILLISECOND
    end = begin + round(milliseconds * MILLISECOND)
    return Span(stage, begin, end, round(cpu * MILLISECOND), iteration)


SPANS = [
    span("encoder", 2.0, 2.0), span("belief", 0.5, 0.5), span("filter", 3.0, 4.0),
    span("rollouts", 4.0, 8.0, 0), span("refit", 1.0, 1.0, 0),
    span("rollouts", 5.0, 9.0, 1), span("refit", 1.5, 1.0, 1),
    span("plan", 12.0, 20.0),
]  # fmt: skip


def test_a_step_is_divided_and_the_rest_is_around() -> None:
    assert by_stage((16.0, 25.0), SPANS) == {
        "act": (16.0, 25.0), "filter": (3.0, 4.0), "encoder": (2.0, 2.0), "belief": (0.5, 0.5),
        "plan": (12.0, 20.0), "rollouts": (9.0, 17.0), "refit": (2.5, 2.0), "around": (1.0, 1.0),
    }  # fmt: skip


def test_a_step_without_a_timeline_is_act_alone() -> None:
    assert by_stage((16.0, 25.0), []) == {"act": (16.0, 25.0)}
    assert by_iteration([]) == []


def test_clocks_that_disagree_leave_nothing_around() -> None:
    assert by_stage((1.0, 1.0), [span("plan", 1.5, 2.0)])["around"] == (0.0, 0.0)


def test_iterations_are_kept_apart() -> None:
    assert by_iteration(SPANS) == [
        {"rollouts": (4.0, 8.0), "refit": (1.0, 1.0)},
        {"rollouts": (5.0, 9.0), "refit": (1.5, 1.0)},
    ]


def test_stages_are_in_the_order_of_a_step_and_may_be_absent_from_some() -> None:
    rows = [{"environment": (1.0, 1.0), "act": (2.0, 3.0)}, {"act": (4.0, 5.0), "plan": (6.0, 7.0)}]
    stages = stages_of(rows)
    assert [stage.name for stage in stages] == ["act", "plan", "environment"]
    assert stages[0].milliseconds == (2.0, 4.0) and stages[0].cpu_milliseconds == (3.0, 5.0)
    assert stages[1].milliseconds == (0.0, 6.0)
