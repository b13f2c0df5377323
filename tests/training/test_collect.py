"""Episodes: the time convention, the policies, and what is kept."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from settings import pixel_spec

from planet.acting.baselines import RandomPolicy, ZeroPolicy
from planet.protocols import Observation
from planet.training.collect import EpisodeError, run_episode


class Box:
    """The part of `gymnasium.spaces.Box` that collection reads."""

    def __init__(self, low: Any, high: Any, shape: tuple[int, ...], dtype: Any) -> None:
        self.low, self.high = np.full(shape, low, dtype), np.full(shape, high, dtype)
        self.shape, self.dtype = shape, np.dtype(dtype)


class Counting:
    """Frame t is filled with t; the reward on arrival at t is 10 t; ends after `steps` steps."""

    action_space = Box(-1, 1, (2,), np.float32)
    observation_space = Box(0, 255, (4, 4, 3), np.uint8)

    def __init__(self, steps: int = 3, ends_itself: bool = False, diverges: bool = False) -> None:
        self.steps, self.ends_itself, self.diverges = steps, ends_itself, diverges
        self.seeds: list[int | None] = []
        self.actions: list[Any] = []

    def _frame(self) -> npt.NDArray[np.uint8]:
        return np.full((4, 4, 3), self.time, np.uint8)

    def reset(self, *, seed: int | None = None) -> tuple[Any, dict[str, Any]]:
        self.seeds.append(seed)
        self.time = 0
        return self._frame(), {}

    def step(self, action: Any, /) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        self.time += 1
        self.actions.append(action)
        end = self.time == self.steps
        info = {"physics_diverged": True} if end and self.diverges else {}
        return self._frame(), 10 * self.time, end and self.ends_itself, end, info


class SeenFrame(ZeroPolicy):
    """Tells which frame an action answers: frame k gives 0.1 (k + 1); reuses its memory."""

    def act(self, observation: Observation, explore: bool = False) -> npt.NDArray[np.float32]:
        self._middle[:] = 0.1 * (observation["image"][0, 0, 0] + 1)
        return self._middle


SPEC = pixel_spec(4)
seen_frame = SeenFrame(SPEC)


def test_index_t_holds_the_action_that_led_to_observation_t() -> None:
    episode = run_episode(Counting(), seen_frame, seed=4)
    assert episode.length == 4
    assert episode.observation["image"][:, 0, 0, 0].tolist() == [0, 1, 2, 3]
    # Index 0 is the reset frame; the answer to frame 0 stands with frame 1.
    np.testing.assert_allclose(episode.action[:, 0], [0.0, 0.1, 0.2, 0.3])
    assert episode.reward.tolist() == [0, 10, 20, 30]
    assert episode.total_reward == 60


def test_seed_reaches_the_environment_and_the_episode() -> None:
    environment = Counting()
    episode = run_episode(environment, seen_frame, seed=41, metadata={"task": "count"})
    assert environment.seeds == [41]
    assert episode.metadata == {"seed": 41, "task": "count", "environment_steps": 3}


@pytest.mark.parametrize("ends_itself", [True, False])
def test_termination_is_kept_apart_from_running_out_of_time(ends_itself: bool) -> None:
    terminated = run_episode(Counting(2, ends_itself), seen_frame, 0).terminated
    assert terminated.tolist() == [False, False, ends_itself]


def test_diverged_physics_is_noted() -> None:
    metadata = run_episode(Counting(diverges=True), seen_frame, 0).metadata
    assert metadata["physics_diverged"] is True
    other = {"physics_diverged": np.ones(2), "control_steps": np.ones(2)}  # means something else
    environment = Faulty(lambda o, r, t, u, i: (o, r, t, u, other), at=4)
    metadata = run_episode(environment, seen_frame, 0).metadata
    assert "physics_diverged" not in metadata and metadata["environment_steps"] == 4


def test_on_step_is_told_the_reward_so_far() -> None:
    totals: list[float] = []
    run_episode(Counting(), seen_frame, 0, on_step=totals.append)
    assert totals == [10, 30, 60]


def test_the_environment_gets_the_policys_action() -> None:
    environment = Counting()
    policy = RandomPolicy(SPEC)
    policy.reset(5)
    episode = run_episode(environment, policy, 0)
    np.testing.assert_array_equal(np.stack(environment.actions), episode.action[1:])


def test_frames_that_the_environment_reuses_are_kept_apart() -> None:
    class Reusing(Counting):
        buffer = np.zeros((4, 4, 3), np.uint8)

        def _frame(self) -> npt.NDArray[np.uint8]:
            self.buffer[:] = self.time
            return self.buffer

    episode = run_episode(Reusing(), seen_frame, 0)
    assert episode.observation["image"][:, 0, 0, 0].tolist() == [0, 1, 2, 3]


class Faulty(Counting):
    """Answers step 2, or the reset, as told."""

    def __init__(self, fault: Any, at: int = 2) -> None:
        super().__init__(steps=4)
        self.fault, self.at = fault, at

    def reset(self, *, seed: int | None = None) -> Any:
        answer = super().reset(seed=seed)
        return self.fault(*answer) if self.at == 0 else answer

    def step(self, action: Any, /) -> Any:
        answer = super().step(action)
        return self.fault(*answer) if self.time == self.at else answer


class Unshown:
    def __repr__(self) -> str:
        raise RuntimeError


def raising(*answer: Any) -> Any:
    raise ValueError("broken joint")


FAULTS: dict[str, Any] = {
    r"observation: expected uint8 \[4, 4, 3\], .*got float64 \[4, 4, 3\]":
        lambda o, *rest: (o / 255, *rest),
    r"observation: .*got uint8 \[3, 4, 4\]": lambda o, *rest: (o.transpose(2, 0, 1), *rest),
    "observation: .*got dict": lambda o, *rest: ({"image": o}, *rest),
    "observation: .*got NoneType": lambda o, *rest: (None, *rest),
    "observation: .*got list": lambda o, *rest: ([[1], [1, 2]], *rest),
    "reward: expected a finite number, within float32, got nan":
        lambda o, r, *rest: (o, float("nan"), *rest),
    "reward: .*got inf": lambda o, r, *rest: (o, np.float64("inf"), *rest),
    r"reward: .*got 1e\+39": lambda o, r, *rest: (o, 1e39, *rest),
    "reward: .*got an int of thousands of digits": lambda o, r, *rest: (o, 10**5000, *rest),
    "reward: .*got None": lambda o, r, *rest: (o, None, *rest),
    "reward: .*got '1'": lambda o, r, *rest: (o, "1", *rest),
    "reward: expected a finite .*got '1'": lambda o, r, *rest: (o, np.str_("1"), *rest),
    r"reward: .*got \(1\+0j\)": lambda o, r, *rest: (o, 1 + 0j, *rest),
    r"reward: expected a finite .*got \(1\+0j\)": lambda o, r, *rest: (o, np.complex128(1), *rest),
    r"reward: .*got ndarray \[1\]": lambda o, r, *rest: (o, np.ones(1), *rest),
    "reward: .*got a list of 1": lambda o, r, *rest: (o, [1.0], *rest),
    "terminated: expected True or False, got None": lambda o, r, t, *rest: (o, r, None, *rest),
    "terminated: .*got 'no'": lambda o, r, t, *rest: (o, r, "no", *rest),
    "terminated: .*got 2": lambda o, r, t, *rest: (o, r, 2, *rest),
    "truncated: .*got ndarray": lambda o, r, t, u, i: (o, r, t, np.array([False]), i),
    "info: expected a dict, got None": lambda o, r, t, u, i: (o, r, t, u, None),
    r"answer: expected \(observation, .*as Gymnasium has it, got a tuple of 4":
        lambda o, r, t, u, i: (o, r, t or u, i),
    "answer: .*got None": lambda *answer: None,
    "the environment raised ValueError: broken joint": raising,
    "reward: .*got Unshown": lambda o, r, *rest: (o, Unshown(), *rest),
}  # fmt: skip
RESET_FAULTS: dict[str, Any] = {
    "observation: .*got uint8": lambda o, i: (o[0], i),
    r"answer: expected \(observation, info\), as Gymnasium has it, got ndarray": lambda o, i: o,
    "the environment raised ValueError: broken joint": raising,
}


@pytest.mark.parametrize("message", FAULTS)
def test_a_fault_is_found_at_its_step_with_episode_and_seed(message: str) -> None:
    environment = Faulty(FAULTS[message])
    with pytest.raises(EpisodeError, match=f"^episode 7, seed 41, step 2: {message}") as error:
        run_episode(environment, seen_frame, 41, name="episode 7")
    assert len(environment.actions) == 2
    assert ("broken" in message) == isinstance(error.value.__cause__, ValueError)


@pytest.mark.parametrize("message", RESET_FAULTS)
def test_a_fault_of_the_reset_is_named_too(message: str) -> None:
    with pytest.raises(EpisodeError, match=f"^episode, seed 41, reset: {message}"):
        run_episode(Faulty(RESET_FAULTS[message], at=0), seen_frame, 41)


class Space:
    """The part of `gymnasium.spaces.Dict` that collection reads."""

    def __init__(self, **spaces: Box) -> None:
        self.spaces = spaces


class Sensing(Counting):
    """Shows frames, and beside them numbers in float64: the time, and twice it."""

    observation_space: Any = Space(
        image=Box(0, 255, (4, 4, 3), np.uint8), clock=Box(-9, 9, (2,), np.float64)
    )

    def __init__(self, clock: Any = np.asarray, **others: Any) -> None:
        super().__init__()
        self.clock, self.others = clock, others

    def _frame(self) -> Any:
        clock = self.clock(np.array([1.0, 2.0]) * self.time)
        return {"image": super()._frame(), "clock": clock, **self.others}


class Seen(ZeroPolicy):
    """Keeps what it is shown, and spoils it."""

    def __init__(self) -> None:
        super().__init__(pixel_spec(4))
        self.observations: list[dict[str, Any]] = []

    def act(self, observation: Observation, explore: bool = False) -> npt.NDArray[np.float32]:
        self.observations.append({name: array.copy() for name, array in observation.items()})
        for array in observation.values():
            array[:] = 7
        return self._middle


def test_arrays_are_kept_by_name_and_numbers_become_float32() -> None:
    policy = Seen()
    episode = run_episode(Sensing(), policy, 0)
    assert episode.observation["image"][:, 0, 0, 0].tolist() == [0, 1, 2, 3]
    assert episode.observation["clock"].dtype == np.float32
    assert episode.observation["clock"].tolist() == [[0, 0], [1, 2], [2, 4], [3, 6]]
    for index, seen in enumerate(policy.observations):
        for name, array in episode.observation.items():
            np.testing.assert_array_equal(seen[name], array[index])


def test_a_box_of_numbers_is_the_vector() -> None:
    class Bare(Sensing):
        observation_space = Sensing.observation_space.spaces["clock"]

        def _frame(self) -> Any:
            return super()._frame()["clock"]

    assert run_episode(Bare(), Seen(), 0).observation["vector"][-1].tolist() == [3, 6]


SENSOR_FAULTS: dict[str, dict[str, Any]] = {
    r"observation\['clock'\]: expected finite numbers, within float32, got nan at \[1\]":
        {"clock": lambda clock: np.array([0.0, np.nan])},
    r"observation\['clock'\]: expected finite numbers, within float32, got 1e\+39 at \[0\]":
        {"clock": lambda clock: np.array([1e39, 0.0])},
    r"observation\['clock'\]: expected float64 \[2\], .* got float32 \[2\]":
        {"clock": np.float32},
    r"observation\['clock'\]: expected float64 \[2\], .* got float64 \[3\]":
        {"clock": lambda clock: np.zeros(3)},
    r"observation: expected 'image', 'clock', .*got 'image', 'clock', 'more'": {"more": 3},
}  # fmt: skip


@pytest.mark.parametrize("message", SENSOR_FAULTS)
def test_a_fault_of_an_array_is_named(message: str) -> None:
    with pytest.raises(EpisodeError, match=f"^episode, seed 41, reset: {message}"):
        run_episode(Sensing(**SENSOR_FAULTS[message]), Seen(), 41)


def test_an_infinite_number_of_half_precision_is_named() -> None:
    class Half(Counting):
        observation_space = Box(-1, 1, (2,), np.float16)

        def _frame(self) -> Any:
            return np.array([0.0, np.inf], np.float16)

    with pytest.raises(EpisodeError, match=r"observation: expected finite .* got inf at \[1\]"):
        run_episode(Half(), Seen(), 0)


def test_an_environment_without_seeds_is_named() -> None:
    class Old(Counting):
        def reset(self) -> Any:  # type: ignore[override]
            return super().reset()

    with pytest.raises(EpisodeError, match="reset: the environment raised TypeError: .*seed"):
        run_episode(Old(), seen_frame, 1)


def test_ctrl_c_passes_as_it_is() -> None:
    def interrupt(*answer: Any) -> Any:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_episode(Faulty(interrupt), seen_frame, 1)


KINDS = (np.longdouble, np.float64, np.float32, np.float16, np.int64, np.uint8, int, np.array)


@pytest.mark.parametrize("kind", [*KINDS, torch.tensor])
def test_numbers_of_every_kind_are_taken(kind: Any) -> None:
    environment = Faulty(lambda o, r, t, u, i: (o, kind(3), np.bool_(t), np.array(u), i))
    assert run_episode(environment, seen_frame, 0).reward.tolist() == [0, 10, 3, 30, 40]
    environment = Faulty(lambda o, r, t, u, i: (o.tolist(), kind(3), np.bool_(t), int(u), i))
    with pytest.raises(EpisodeError, match="observation: .*got int64"):
        run_episode(environment, seen_frame, 0)


def test_an_environment_that_changes_its_action_does_not_change_what_is_kept() -> None:
    class Scaling(Counting):
        action_space = Box(-1, 1, (2,), np.float64)

        def step(self, action: Any, /) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
            assert action.dtype == np.float64
            action *= 100
            return super().step(action)

    episode = run_episode(Scaling(), seen_frame, 0)
    np.testing.assert_allclose(episode.action[:, 0], [0.0, 0.1, 0.2, 0.3])
