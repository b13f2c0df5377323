"""Checks which environments are trained in, and which are refused before anything is written."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from planet.config import CEMConfig, Config, EnvironmentConfig
from planet.protocols import Spec
from planet.systems.planet import build
from planet.training.action_box import ActionBox
from planet.training.check_environment import check_environment
from planet.training.run_state import check_spec

gymnasium = pytest.importorskip("gymnasium", reason="the spaces are Gymnasium's")
from gymnasium import spaces  # noqa: E402

from planet.replay import ReplayBuffer  # noqa: E402
from planet.training.trainer import Trainer  # noqa: E402

FRAMES = spaces.Box(0, 255, (8, 8, 3), np.uint8)
NUMBERS = spaces.Box(-1, 1, (5,), np.float64)
ONE_IN_THE_CORNER = np.eye(192, 1, dtype=np.uint8).reshape(8, 8, 3)
SMALL = EnvironmentConfig(image_size=8, render_size=8)
ACTIONS = spaces.Box(-1, 1, (2,), np.float32)


class Noise(gymnasium.Env[Any, Any]):
    """Noise in given spaces; refuses actions outside of them, ends after four steps."""

    def __init__(self, observations: Any = FRAMES, actions: Any = ACTIONS) -> None:
        self.observation_space, self.action_space = observations, actions
        self.steps = 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.steps = 0
        return self.np_random.integers(0, 256, (8, 8, 3), np.uint8), {}

    def step(self, action: Any) -> Any:
        assert action in self.action_space
        self.steps += 1
        frame = self.np_random.integers(0, 256, (8, 8, 3), np.uint8)
        return frame, float(action[0]), False, self.steps == 4, {}


REFUSED_FRAMES = {
    "Discrete": spaces.Discrete(3),
    "Dict of 'camera'; .*AddRenderObservation": spaces.Dict({"camera": FRAMES}),
    "Dict of 'image', 'speed'; .*FilterObservation.*set environment.observe to 'both'": spaces.Dict(
        {"image": FRAMES, "speed": NUMBERS}
    ),
    "Tuple": spaces.Tuple([FRAMES]),
    "MultiBinary": spaces.MultiBinary(4),
    r"float64 \[17\]; .*AddRenderObservation": spaces.Box(-1, 1, (17,), np.float64),
    r"float32 \[8, 8, 3\]; .*TransformObservation": spaces.Box(0, 1, (8, 8, 3), np.float32),
    r"int64 \[8, 8, 3\]": spaces.Box(0, 255, (8, 8, 3), np.int64),
    r"uint8 \[8, 8, 3\] from 0 to 1; ": spaces.Box(0, 1, (8, 8, 3), np.uint8),
    r"uint8 \[8, 8, 3\] from 1 to 255; ": spaces.Box(
        ONE_IN_THE_CORNER, FRAMES.high, dtype=np.uint8
    ),
    r"uint8 \[8, 8\]; ": spaces.Box(0, 255, (8, 8), np.uint8),
    r"uint8 \[3, 8, 8\]; .*last axis": spaces.Box(0, 255, (3, 8, 8), np.uint8),
    r"uint8 \[4, 8, 8, 3\]; ": spaces.Box(0, 255, (4, 8, 8, 3), np.uint8),
    r"uint8 \[8, 8, 6\]; set environment.frames to 2": spaces.Box(0, 255, (8, 8, 6), np.uint8),
    r"uint8 \[16, 16, 3\]; .*ResizeObservation": spaces.Box(0, 255, (16, 16, 3), np.uint8),
}
REFUSED_ACTIONS = {
    "Discrete; .*TransformAction": spaces.Discrete(3),
    "MultiDiscrete": spaces.MultiDiscrete([3, 2]),
    "MultiBinary": spaces.MultiBinary(2),
    "Dict": spaces.Dict({"a": ACTIONS}),
    r"int32 \[2\]": spaces.Box(-1, 1, (2,), np.int32),
    r"float32 \[2, 3\]": spaces.Box(-1, 1, (2, 3), np.float32),
    r"float32 \[\]": spaces.Box(-1, 1, (), np.float32),
    r": \[-inf, inf\] in 500-d; .*that matter$": spaces.Box(-np.inf, np.inf, (500,), np.float32),
    r"float32 \[513\]; ": spaces.Box(-1, 1, (513,), np.float32),
    r": \[0, inf\] in 2-d; ": spaces.Box(0, np.inf, (2,), np.float32),
    r": \[-3.4e\+38, 3.4e\+38\]": spaces.Box(-3.4e38, 3.4e38, (2,), np.float32),
    r": \[-1e\+300, ": spaces.Box(-1e300, 1e300, (2,), np.float64),
    r": \[0.1, 0.1\] in 1-d; .*TransformAction": spaces.Box(0.1, 0.1, (1,), np.float64),
}


@pytest.mark.parametrize("message", [*REFUSED_FRAMES, *REFUSED_ACTIONS])
def test_what_cannot_be_trained_in_is_refused_before_anything_is_written(
    tiny: Config, tmp_path: Path, message: str
) -> None:
    observations = REFUSED_FRAMES.get(message, FRAMES)
    environment = Noise(observations, REFUSED_ACTIONS.get(message, ACTIONS))
    with pytest.raises(ValueError, match=f"^environment: expected .*got .*{message}"):
        Trainer(tiny, tmp_path / "run", environment, build)
    assert not (tmp_path / "run").exists()


STACKED = spaces.Box(0, 255, (8, 8, 6), np.uint8)
HALF = spaces.Box(-1, 1, (5,), np.float16)
TAKEN = {
    "an image": ("pixels", 1, FRAMES, {"image": FRAMES}),
    "an image in a Dict": ("pixels", 1, spaces.Dict({"image": FRAMES}), {"image": FRAMES}),
    "two frames": ("pixels", 2, STACKED, {"image": STACKED}),
    "numbers": ("vectors", 1, NUMBERS, {"vector": NUMBERS}),
    "numbers by name": (
        "vectors", 1, spaces.Dict({"speed": HALF, "a": NUMBERS}), {"speed": HALF, "a": NUMBERS}
    ),
    "both": (
        "both", 2, spaces.Dict({"image": STACKED, "a": NUMBERS}), {"image": STACKED, "a": NUMBERS}
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", TAKEN)
def test_spaces_say_what_is_observed_by_name(name: str) -> None:
    observe, frames, space, expected = TAKEN[name]
    config = replace(SMALL, observe=observe, frames=frames)
    spec = check_environment(Noise(space), config)
    assert spec.observation == {
        name: ("uint8" if name == "image" else "float32", box.shape)
        for name, box in expected.items()
    }
    assert spec.low.tolist() == [-1, -1] and spec.high.tolist() == [1, 1]


REFUSED_VECTORS = {
    r"Box uint8 \[8, 8, 3\]; set environment.observe to 'pixels'": FRAMES,
    "Dict of 'a', 'image'; set environment.observe to 'both'": spaces.Dict(
        {"image": FRAMES, "a": NUMBERS}
    ),
    r"Box int32 \[5\]; .*TransformObservation": spaces.Box(0, 9, (5,), np.int32),
    r"Box float32 \[2, 3\]; .*FlattenObservation": spaces.Box(0, 1, (2, 3), np.float32),
    r"Box float32 \[\]; .*FlattenObservation": spaces.Box(0, 1, (), np.float32),
    "Discrete as 'a'; .*FlattenObservation": spaces.Dict({"a": spaces.Discrete(2)}),
    r"Box uint8 \[8, 8, 3\] as 'camera'; a picture is called 'image'": spaces.Dict(
        {"camera": FRAMES}
    ),
    "Tuple": spaces.Tuple([NUMBERS]),
}
REFUSED_BOTH = {
    r"Box float64 \[5\]; .*AddRenderObservation": NUMBERS,
    r"Box uint8 \[8, 8, 3\]; set environment.observe to 'pixels'": FRAMES,
    r"Box uint8 \[8, 8, 6\] as 'image'; set environment.frames to 2": spaces.Dict(
        {"image": STACKED, "a": NUMBERS}
    ),
}


@pytest.mark.parametrize(
    ("observe", "message", "space"),
    [("vectors", *each) for each in REFUSED_VECTORS.items()]
    + [("both", *each) for each in REFUSED_BOTH.items()],
)
def test_observations_that_are_not_those_of_the_settings_are_refused(
    observe: str, message: str, space: Any
) -> None:
    with pytest.raises(ValueError, match=f"^environment: expected observations .*got {message}"):
        check_environment(Noise(space), replace(SMALL, observe=observe))


def test_names_that_an_episode_cannot_keep_are_refused() -> None:
    space = spaces.Dict({"reward": NUMBERS})
    with pytest.raises(ValueError, match="environment: expected other names: .*got 'reward'"):
        check_environment(Noise(space), replace(SMALL, observe="vectors"))


def test_what_is_no_single_environment_is_refused() -> None:
    with pytest.raises(TypeError, match=r"expected a gymnasium.Env, got dict without reset"):
        check_environment({}, EnvironmentConfig())
    vector = gymnasium.vector.SyncVectorEnv([Noise, Noise])
    with pytest.raises(ValueError, match="expected a single one, got a vector of 2"):
        check_environment(vector, EnvironmentConfig())


BOXES = {
    "unit": spaces.Box(0, 1, (2,), np.float32),
    "wide": spaces.Box(-2, 2, (2,), np.float32),
    "double": spaces.Box(0.1, 0.3, (2,), np.float64),
    "uneven": spaces.Box(np.float32([10, -1]), np.float32([20, 3]), dtype=np.float32),
    "masked": spaces.Box(np.float32([-1, 0.5]), np.float32([1, 0.5]), dtype=np.float32),
}


@pytest.mark.parametrize("name", BOXES)
def test_every_bounded_box_is_trained_in_and_never_left(
    tiny: Config, tmp_path: Path, name: str
) -> None:
    space = BOXES[name]
    with Trainer(tiny, tmp_path, Noise(actions=space), build) as trainer:
        trainer.run()
    buffer = ReplayBuffer(tmp_path / "episodes")
    assert len(buffer.episodes) == 5
    other = spaces.Box(space.low - 1, space.high, dtype=space.dtype)
    with pytest.raises(ValueError, match="environment: expected actions .*checkpoint.pt was"):
        Trainer(tiny, tmp_path, Noise(actions=other), build)
    with Trainer(tiny, tmp_path, Noise(actions=space), build) as again:
        assert (again.spec.low == trainer.spec.low).all() and again.episodes == 5


def test_bounds_in_float32_lie_inside_of_those_in_float64() -> None:
    values = np.random.default_rng(0).uniform(-3, 3, (2, 500))
    low, high = values.min(0), values.max(0)
    box = check_environment(Noise(actions=spaces.Box(low, high, dtype=np.float64)), SMALL)
    assert (box.low >= low).all() and (box.high <= high).all()
    np.testing.assert_allclose([box.low, box.high], [low, high], rtol=3e-7, atol=1e-9)


def test_the_planner_searches_the_box_and_settings_are_shares_of_it() -> None:
    config = CEMConfig()
    assert ActionBox.unit(3).share(config) == (-1.0, 1.0)
    half = ActionBox(np.zeros(2, np.float32), np.ones(2, np.float32))
    assert half.share(config) == (0.0, 1.0)
    uneven = ActionBox(np.float32([10, -1]), np.float32([20, 3]))
    low, high = uneven.share(replace(config, low=-0.5, high=0.5))
    assert isinstance(low, torch.Tensor) and isinstance(high, torch.Tensor)
    assert low.tolist() == [12.5, 0.0] and high.tolist() == [17.5, 2.0]
    with pytest.raises(ValueError, match=r"planner.high: expected -1 to 1, .*got 2.0"):
        uneven.share(replace(config, high=2.0))
    assert ActionBox.from_dict(uneven.to_dict()) == uneven != ActionBox.unit(2)


def test_boxes_are_written_so_that_they_can_be_told_apart(tmp_path: Path) -> None:
    low, high = np.full(9, -0.3, np.float32), np.full(9, 2.0, np.float32)
    trained, other = ActionBox(low, high), ActionBox(low.copy(), high)
    assert str(trained) == "[-0.3, 2] in 9-d"
    other.low[8] = np.nextafter(low[8], np.float32(0))
    expected = r"got \[-0.3, 2\] x .* x \.\.\. in 9-d; dimension 8 is the first that differs$"
    with pytest.raises(ValueError, match=expected):
        check_spec(tmp_path, *(Spec({}, box.low, box.high) for box in (trained, other)))
    assert str(ActionBox(other.low[8:], high[8:])) == "[-0.29999998, 2] in 1-d"
