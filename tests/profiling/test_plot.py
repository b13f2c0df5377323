"""Pictures of the latency: what they show of every planner, and that nothing covers another."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from planet.acting.timeline import STAGES
from planet.profiling import Comparison, Profile, Stage, plot_latency
from planet.profiling.plot import _ticks, draw_latency
from planet.profiling.plot_stages import COLORS, step_parts

pytest.importorskip("matplotlib", reason="pictures need the train extra")

MEDIANS = {
    "images": 0.03, "encoder": 0.9, "belief": 0.15, "posterior": 0.06, "rollouts": 26.0,
    "selection": 0.02, "refit": 0.05, "explore": 0.008, "around": 0.12,
}  # fmt: skip
FOUR = {"reference": 30.0, "fused": 1.0, "fused+int8": 0.5, "fused+a-long-name+bf16": 0.7}


def stage_of(name: str, times: Any) -> Stage:
    return Stage(name, tuple(times), tuple(times))


def profile_of(scale: float, steps: int, rate_hz: float | None, worst: float) -> Profile:
    """A profile of all stages, whose plan takes `scale` times as long, and one step `worst` ms."""
    generator = np.random.default_rng(0)
    noise = generator.lognormal(0.0, 0.05, (len(MEDIANS), steps))
    times = dict(zip(MEDIANS, np.array([*MEDIANS.values()])[:, None] * noise, strict=True))
    times["rollouts"] *= scale
    act = sum(times.values())
    act[steps // 3] = worst
    wholes = {"act": act, "filter": act, "plan": act}  # which the picture does not draw twice
    stages = [stage_of(name, t) for name, t in {**wholes, **times, "render": act}.items()]
    return Profile(tuple(stages), (10,) * steps, {"iterations": 10}, {}, {}, None, rate_hz)


def compare(rate_hz: float | None, steps: int, worst: float, **scales: float) -> Comparison:
    return Comparison(
        {name: profile_of(scale, steps, rate_hz, worst) for name, scale in scales.items()}
    )


CASES = {
    "one": compare(25.0, 400, 90.0, fused=1.0),
    "four": compare(25.0, 400, 20_000.0, **FOUR),
    "short": compare(None, 6, 14.5, **{"fused": 1.0, "fused+int8": 0.5}),
    "first": compare(None, 3, 90.0, fused=1.0),
    "early": compare(1e5, 40, 90.0, fused=1.0),
    "late": compare(0.5, 40, 90.0, fused=1.0),
}


def texts(figure: Any) -> list[Any]:
    """Texts of a figure but for the numbers at its axes."""
    parts = [figure, *figure.subfigs]
    found = [part._suptitle for part in parts]
    found += [text for part in parts for legend in part.legends for text in legend.get_texts()]
    for axes in figure.axes:
        legend = axes.get_legend()
        found += [axes.title, axes._left_title, axes._right_title, axes.xaxis.label, *axes.texts]
        found += [] if legend is None else legend.get_texts()
    return [text for text in found if text.get_text()]


def seen(comparison: Comparison) -> list[str]:
    return [text.get_text() for text in texts(draw_latency(comparison, "toy"))]


@pytest.mark.parametrize("case", CASES)
def test_no_text_covers_another_or_leaves_the_picture(case: str) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure = draw_latency(CASES[case], "cheetah-run: candidates 1000, iterations 10, threads 2")
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    boxes = [(t.get_text(), t.get_window_extent(canvas.get_renderer())) for t in texts(figure)]
    picture = figure.bbox.padded(1.0)
    for text, box in boxes:
        assert picture.contains(box.x0, box.y0), text
        assert picture.contains(box.x1, box.y1), text
    for (one, a), (other, b) in combinations(boxes, 2):
        assert not a.overlaps(b), f"{one!r} covers {other!r}"


def test_every_planner_has_its_numbers() -> None:
    found = seen(CASES["four"])
    for name in FOUR:
        assert found.count(name) == 3  # in the legend, over the histogram and over the bar
    assert "20000 ms" in found  # beside the worst step
    assert "deadline\n40 ms" in found
    assert "How long steps take" in found
    assert sum(text.startswith("p50 ") and ", p99 " in text for text in found) == 4
    assert sum(text.endswith(", missed 100.0%") for text in found) == 1
    assert any(text.endswith("missed 0.2%") for text in found)
    heading = "Where a step's time goes: medians of its stages in ms"
    assert f"{heading}; every bar has its own scale" in found
    assert heading in seen(CASES["short"])


def test_small_stages_have_their_numbers_below_the_bar() -> None:
    found = seen(CASES["one"])
    assert any(text.startswith("rollouts 2") for text in found)
    (small,) = (text for text in found if " · " in text)
    assert [part.split()[0] for part in small.split(" · ")] == [
        name for name in MEDIANS if name != "rollouts"
    ]
    assert "explore 0.008" in small


def test_a_step_that_starts_late_misses_its_deadline() -> None:
    stages = (stage_of("act", [3.0, 3.0, 3.0, 5.0]),)
    profile = Profile(stages, (), {}, {}, {}, rate_hz=250.0, lateness=(0.0, 0.5, 2.0, 0.0))
    assert any(text.endswith("missed 50.0%") for text in seen(Comparison({"": profile})))


def test_spikes_have_rings() -> None:
    figure = draw_latency(CASES["one"], "toy")
    line, rings = figure.subfigs[0].axes[0].lines[:2]
    assert len(line.get_xdata()) == 400
    assert [*rings.get_xdata()] == [133]


def test_a_wide_range_is_drawn_logarithmically() -> None:
    scales = {case: draw_latency(CASES[case], "toy").axes[0].get_yscale() for case in CASES}
    logarithmic = {case for case, scale in scales.items() if scale == "log"}
    assert logarithmic == {"four", "early", "late"}


@pytest.mark.parametrize(
    "limits", [(2.86, 3.15), (13.0, 31.0), (1.3, 11.0), (8.0, 900.0), (9, 3e4)]
)
def test_axes_have_a_few_round_numbers(limits: tuple[float, float]) -> None:
    ticks = _ticks(*limits)
    assert 3 <= len(ticks) <= 9
    assert limits[0] <= min(ticks) and max(ticks) <= limits[1]
    assert all(len(f"{tick:g}".replace(".", "").strip("0")) <= 3 for tick in ticks)


def test_bars_have_the_stages_without_parts_in_their_order() -> None:
    assert [*step_parts(CASES["one"].first)] == [*MEDIANS]
    times = {"act": 5.0, "filter": 1.0, "plan": 3.0, "environment": 9.0, "around": 1.0}
    stages = tuple(stage_of(name, [ms]) for name, ms in times.items())
    assert step_parts(Profile(stages, (), {}, {}, {})) == {
        "filter": 1.0,
        "plan": 3.0,
        "around": 1.0,
    }
    assert step_parts(Profile(stages[:1], (), {}, {}, {})) == {"act": 5.0}
    assert {*STAGES, "act", "around"} <= set(COLORS)


def test_names_say_what_computes_once() -> None:
    compute = {"backend": "fused", "precision": "int8"}
    profile = Profile((stage_of("act", [3.0] * 4),), (), {}, compute, {})
    for name, full in (("", "fused+int8"), ("int8", "fused+int8"), ("wide", "fused+int8+wide")):
        assert full in seen(Comparison({name: profile}))


@pytest.mark.parametrize("ending", ["png", "svg"])
def test_pictures_are_written_whole(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"latency.{ending}"
    plot_latency(CASES["short"], path, "toy")
    assert path.stat().st_size > 10_000
    assert [*tmp_path.iterdir()] == [path]


def test_equal_times_can_be_drawn(tmp_path: Path) -> None:
    profile = Profile((stage_of("act", [3.0] * 4),), (), {}, {}, {})
    plot_latency(Comparison({"": profile}), tmp_path / "latency.png", "still")
    assert (tmp_path / "latency.png").stat().st_size > 0
