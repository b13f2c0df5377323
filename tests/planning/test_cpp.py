"""The planners of C++ search as those of Python do where nothing else is said."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import ROOT
from cpp_examples import COMPILER, run

from planet.planning import PLANNERS, SamplingPlanner
from planet.planning.colour import colour_mix

pytestmark = [
    pytest.mark.skipif(not (ROOT / "csrc").is_dir(), reason="no source tree"),
    pytest.mark.skipif(COMPILER is None, reason="no C++ compiler"),
]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Prints settings of planners, and matrices of coloured noise."""
    path, core = tmp_path_factory.mktemp("planners") / "print", ROOT / "csrc"
    sources = core / "colour.cpp", core / "planner_settings.cpp"
    main = ROOT / "tests" / "csrc" / "print_planners.cpp"
    run(COMPILER, "-std=c++20", "-O1", "-Wall", "-Wextra", "-Werror", main, *sources, "-o", path)
    return path


def test_the_planners_of_cpp_are_those_of_python(program: Path) -> None:
    printed = [json.loads(line) for line in run(program).stdout.splitlines()]
    for settings in printed:
        settings["temperature"] = settings["temperature"] or None  # 0: none
    planners = [(name, kind()) for name, kind in PLANNERS.items()]
    expected = [
        {"planner": name, **vars(planner.settings)}
        for name, planner in planners
        if isinstance(planner, SamplingPlanner)
    ]
    assert printed == expected


@pytest.mark.parametrize("numerics", ["unit", "icem"])
def test_coloured_noise_is_that_of_python_bit_for_bit(program: Path, numerics: str) -> None:
    for horizon in (1, 2, 3, 4, 5, 12, 13, 30, 64):
        if horizon == 1 and numerics == "icem":
            continue
        for colour in (0.25, 0.5, 1.0, 2.0, 2.5, 3.7):
            number = ("unit", "icem").index(numerics)
            words = run(program, str(horizon), repr(colour), str(number)).stdout.split()
            got = np.array([int(word, 16) for word in words], np.uint32).view(np.float32)
            mix = colour_mix(horizon, colour, numerics, torch.device("cpu"))
            np.testing.assert_array_equal(got.reshape(horizon, horizon), mix.numpy())
