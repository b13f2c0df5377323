"""Histograms of the latency."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from planet.profiling import Comparison, Profile, Stage, plot_latency

pytest.importorskip("matplotlib", reason="pictures need the train extra")


def stage_of(*milliseconds: float) -> Stage:
    return Stage("act", milliseconds, milliseconds)


def make_comparison(rate_hz: float | None, *medians: float) -> Comparison:
    generator = np.random.default_rng(0)
    return Comparison(
        {
            f"planner {median:g}": Profile(
                (stage_of(*median * generator.lognormal(0, 0.1, 50)),),
                (10,) * 50, {"iterations": 10}, {}, {}, None, rate_hz,
            )
            for median in medians
        }
    )  # fmt: skip


@pytest.mark.parametrize(
    ("rate_hz", "medians"),
    [(None, (900.0, 40.0, 7.0)), (25.0, (900.0, 40.0, 7.0)), (0.5, (30.0,)), (1e5, (30.0,))],
)
def test_picture_has_a_row_per_planner(
    rate_hz: float | None, medians: tuple[float, ...], tmp_path: Path
) -> None:
    from matplotlib.image import imread

    path = tmp_path / "latency.png"
    plot_latency(make_comparison(rate_hz, *medians), path, "toy")
    height, width = imread(path).shape[:2]
    assert width == 1350
    assert height == round(150 * (1.2 + 1.5 * len(medians)))


def test_equal_times_can_be_drawn(tmp_path: Path) -> None:
    profile = Profile((stage_of(*[3.0] * 4),), (10,) * 4, {"iterations": 10}, {}, {})
    plot_latency(Comparison({"": profile}), tmp_path / "latency.png", "still")
    assert (tmp_path / "latency.png").stat().st_size > 0
