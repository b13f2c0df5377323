"""An agent's timeline: the stages of its newest step, in every form."""

from __future__ import annotations

import copy
import time
from dataclasses import replace

import pytest
from agents import MakeAgent, play, small_agent
from ops.fused_support import needs_extension
from small_models import frame

from planet.acting.timeline import WHOLE, Span, Timeline
from planet.planning import CEMPlanner


@pytest.mark.parametrize("explore", [False, True])
def test_the_newest_step_has_its_stages_within_it(make_agent: MakeAgent, explore: bool) -> None:
    agent = make_agent()
    agent.reset()
    assert agent.timeline is None
    agent.timeline = Timeline()
    for t in range(2):
        began = time.perf_counter_ns()
        agent.act(frame(t), explore)
        ended = time.perf_counter_ns()
        whole = [span for span in agent.timeline.spans if span.stage not in WHOLE]
        assert [span.stage for span in whole] == ["filter", "plan", "explore"]
        times = [began, *(time for span in whole for time in (span.begin, span.end)), ended]
        assert times == sorted(times)
        assert all(span.cpu >= 0 for span in whole)
    agent.timeline = None
    agent.act(frame(2))


def test_halves_of_a_step_begin_anew(make_agent: MakeAgent) -> None:
    agent = make_agent()
    agent.reset()
    agent.timeline = Timeline()
    agent.act(frame(0))
    for t in range(3):
        agent.filter(frame(t))
        assert [span.stage for span in agent.timeline.spans] == ["filter"]
        agent.plan()
        assert [span.stage for span in agent.timeline.spans] == ["plan"]


def test_a_timeline_changes_no_action(make_agent: MakeAgent) -> None:
    seen, agent = make_agent(), make_agent()
    for each in (seen, agent):
        each.reset(4)
        each.act(frame(0))
    seen.timeline = Timeline()
    assert play(seen, explore=True) == play(agent, explore=True)


def test_a_copy_has_a_timeline_of_its_own() -> None:
    agent = small_agent(None)
    agent.reset()
    agent.timeline = Timeline()
    agent.act(frame(0))
    twin = copy.deepcopy(agent)
    assert twin.timeline is not None and twin.timeline.spans == []
    twin.act(frame(1))
    assert twin.timeline.spans[0].begin > agent.timeline.spans[-1].end


@needs_extension
def test_a_compiled_step_has_the_parts_of_its_stages() -> None:
    agent = small_agent(None, backend="fused", iterations=2)
    agent.reset()
    agent.timeline = Timeline()
    assert isinstance(agent.planner, CEMPlanner)
    for iterations in (2, 5, 1):
        agent.planner = replace(agent.planner, iterations=iterations)
        agent.act(frame(0))
        spans = agent.timeline.spans
        each = [(name, i) for i in range(iterations) for name in ("rollouts", "selection", "refit")]
        assert [(span.stage, span.iteration) for span in spans] == [
            ("images", -1), ("encoder", -1), ("belief", -1), ("posterior", -1), ("filter", -1),
            *each, ("plan", -1), ("explore", -1),
        ]  # fmt: skip
        ends = [span.end for span in spans]
        assert ends == sorted(ends)
        for span in spans:
            if span.stage in WHOLE:
                outer = of(spans, WHOLE[span.stage])
                assert outer.begin <= span.begin <= span.end <= outer.end


def of(spans: list[Span], stage: str) -> Span:
    [span] = [span for span in spans if span.stage == stage]
    return span
