"""Gymnasium's own tasks: their spaces, actions, seeds, ends and pictures."""

# ruff: noqa: E402 - what the extra brings is imported after the check that it is there
import numpy as np
import pytest

gymnasium = pytest.importorskip("gymnasium", reason="needs the train extra")

from gymnasium import spaces
from gymnasium.utils.env_checker import check_env

from planet.envs import make
from planet.envs.gym import squeezed

UP = np.float64([1, 0.5])
TILT = spaces.Box(-9, 9, (2, 3), np.float64)
STEPS = spaces.Box(-9, 9, (), np.int64)


class Falling(gymnasium.Env):
    """Falls at the sixth control step; the reward of step t is t; shows its steps in two ways."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 30}
    observation_space = spaces.Dict({"tilt": TILT, "steps": STEPS})
    action_space = spaces.Box(np.float64([-2, 0]), np.float64([2, 1]), dtype=np.float64)

    def __init__(self, render_mode=None, **spaces):
        self.render_mode = render_mode
        for name, space in spaces.items():
            setattr(self, name, space)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.tilt, self.steps, self.actions = self.np_random.normal(size=(2, 3)), 0, []
        return self._shown(), {"wind": 1}

    def step(self, action):
        self.actions.append(action.copy())
        action *= 0
        self.steps += 1
        return self._shown(), self.steps, self.steps == 6, False, {"wind": self.steps}

    def render(self):
        return np.full((30, 20, 3), self.steps, np.uint8)

    def _shown(self):
        return {"tilt": self.tilt, "steps": np.int64(self.steps)}


class Undrawn(Falling):
    """Cannot be drawn, and has a bare observation and no end of its own."""

    metadata = {"render_modes": []}
    observation_space = TILT

    def __init__(self):
        super().__init__()

    def _shown(self):
        return self.tilt


@pytest.fixture(autouse=True)
def registered():
    """The tasks above in Gymnasium's registry."""
    before = dict(gymnasium.registry)
    gymnasium.register("Falling-v0", Falling, max_episode_steps=9)
    gymnasium.register("Undrawn-v0", Undrawn)
    yield
    gymnasium.registry.clear()
    gymnasium.registry.update(before)


@pytest.mark.filterwarnings("ignore:.*recommend using a symmetric:UserWarning")
@pytest.mark.filterwarnings("ignore:.*A Box observation space m.*imum value is:UserWarning")
@pytest.mark.parametrize("observe", ["pixels", "vectors", "both"])
@pytest.mark.parametrize("task", ["gym:Falling-v0", "gym:Pendulum-v1"])
def test_every_form_passes_gymnasiums_checker(task, observe):
    if task == "gym:Pendulum-v1" and observe != "vectors":
        pytest.importorskip("pygame")
    environment = make(task, observe=observe, image_size=8)
    check_env(environment, skip_render_check=observe == "vectors")


def test_vectors_of_a_dict_go_by_their_names_flattened_in_float32():
    environment = make("gym:Falling-v0", observe="vectors")
    space = environment.observation_space
    assert {name: (box.dtype, box.shape) for name, box in space.items()} == {
        "steps": (np.float32, (1,)), "tilt": (np.float32, (6,)),
    }  # fmt: skip
    observation, _ = environment.reset(seed=2)
    tilt = np.random.Generator(np.random.PCG64(2)).normal(size=6)
    np.testing.assert_array_equal(observation["tilt"], tilt.astype(np.float32))
    assert environment.step(UP)[0]["steps"].tolist() == [1]


def test_a_box_alone_is_the_vector():
    environment = make("gym:Undrawn-v0", observe="vectors", control_steps=3)
    assert environment.observation_space.shape == environment.reset(seed=0)[0].shape == (6,)


def test_an_action_is_held_and_rewards_are_summed_until_the_task_ends_itself():
    environment = make("gym:Falling-v0", observe="vectors", action_repeat=4)
    environment.reset(seed=0)
    _, reward, terminated, truncated, info = environment.step(UP)
    assert (reward, terminated, truncated) == (10.0, False, False)
    np.testing.assert_array_equal(environment._made.unwrapped.actions, [UP] * 4)
    _, reward, terminated, truncated, info = environment.step(UP)
    assert (reward, terminated, truncated) == (11.0, True, False)
    assert info == {"reward_sum": 11.0, "control_steps": 6, "physics_diverged": False, "wind": 6}
    with pytest.raises(RuntimeError, match="call reset first"):
        environment.step(UP)


@pytest.mark.parametrize("steps", [5, 4])
def test_control_steps_truncate_and_stand_in_the_specification(steps):
    environment = make("gym:Falling-v0", observe="vectors", action_repeat=2, control_steps=steps)
    assert environment.spec.max_episode_steps == environment.max_episode_steps == -(-steps // 2)
    environment.reset(seed=0)
    ends = [environment.step(UP)[2:4] for _ in range(environment.max_episode_steps)]
    assert ends[-1] == (False, True) and not any(map(any, ends[:-1]))
    assert make("gym:Falling-v0", observe="vectors").control_steps == 9


def test_reset_starts_the_episode_that_the_task_itself_starts_from_the_seed():
    environment, theirs = make("gym:Pendulum-v1", observe="vectors"), gymnasium.make("Pendulum-v1")
    np.testing.assert_array_equal(environment.reset(seed=7)[0], theirs.reset(seed=7)[0])
    action = np.float32([1.5])
    for _ in range(3):
        ours, others = environment.step(action), theirs.step(action)
        np.testing.assert_array_equal(ours[0], others[0])
        assert ours[1:4] == others[1:4]


def test_the_seed_of_the_constructor_starts_the_first_episode_only():
    settings = {"observe": "vectors", "control_steps": 3}
    seeded = make("gym:Undrawn-v0", seed=7, **settings)
    first = seeded.reset()[0]
    np.testing.assert_array_equal(first, make("gym:Undrawn-v0", **settings).reset(seed=7)[0])
    again = make("gym:Undrawn-v0", seed=7, **settings)
    assert (again.reset()[0] == first).all()
    second = seeded.reset()[0]
    assert (second != first).all() and (again.reset()[0] == second).all()


def test_pictures_are_what_the_task_renders_and_its_observations_are_not_looked_at():
    gymnasium.register("Odd-v0", Falling, kwargs={"observation_space": spaces.Discrete(2)},
                       max_episode_steps=9)  # fmt: skip
    environment = make("gym:Odd-v0", image_size=8, frames=2)
    environment.reset(seed=0)
    image = environment.step(UP)[0]
    assert image in environment.observation_space
    assert (image[..., :3] == 0).all() and (image[..., 3:] == 1).all()
    assert environment.render().shape == (30, 20, 3)
    assert environment.metadata["render_fps"] == 30


@pytest.mark.parametrize("shape", [(30, 20), (8, 8), (8, 24), (5, 3)])
def test_frames_are_averaged_by_the_area_that_pixels_cover(shape):
    frame = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    small = np.kron(frame, np.ones((8, 8, 1)))  # every pixel of the result covers whole pixels
    blocks = small.reshape(8, shape[0], 8, shape[1], 3).mean((1, 3))
    np.testing.assert_array_equal(squeezed(frame, 8), np.floor(blocks + 0.5).astype(np.uint8))


def register(name, **spaces):
    gymnasium.register(name, Falling, kwargs=spaces, max_episode_steps=9)


REFUSED = {
    "task: expected actions in a bounded Box .*got Discrete.*TransformAction": {
        "action_space": spaces.Discrete(3)
    },
    "task: expected actions in a bounded Box .*got Box.*inf": {
        "action_space": spaces.Box(-np.inf, 1, (2,), np.float32)
    },
    "task: expected actions in a bounded Box .*got Box.*int32": {
        "action_space": spaces.Box(-1, 1, (2,), np.int32)
    },
    "task: expected observations .*got Discrete.*observe='pixels'.*FlattenObservation": {
        "observation_space": spaces.Discrete(3)
    },
    "task: expected observations .*got Text.* as 'says'": {
        "observation_space": spaces.Dict({"says": spaces.Text(3)})
    },
    "task: expected observations .*got Box.*uint8.*as 'eye'.*observe='pixels'": {
        "observation_space": spaces.Dict({"eye": spaces.Box(0, 255, (8, 8, 3), np.uint8)})
    },
}


@pytest.mark.parametrize("message", REFUSED)
def test_tasks_of_other_spaces_are_refused_by_name(message):
    register("Other-v0", **REFUSED[message])
    with pytest.raises(ValueError, match=f"{message}.*gymnasium.make, wrap it"):
        make("gym:Other-v0", observe="vectors")


@pytest.mark.parametrize(
    ("task", "settings", "message"),
    [
        (
            "gym:Nowhere-v0",
            {},
            "task: expected an id that Gymnasium knows, got 'gym:Nowhere-v0.: .*No",
        ),
        ("gym:", {}, "task: expected an id that Gymnasium knows, got 'gym:'"),
        (
            "gym:Undrawn-v0",
            {"observe": "vectors"},
            "control_steps: .* gym:Undrawn-v0, which has no time",
        ),
        ("gym:Undrawn-v0", {}, "observe: expected 'vectors', or gym:Undrawn-v0 that draws itself"),
        ("gym:Falling-v0", {"control_steps": 0}, "control_steps: expected a value >= 1, got 0"),
        ("gym:Falling-v0", {"action_repeat": 0}, "action_repeat: expected a value >= 1, got 0"),
        (
            "gym:Falling-v0",
            {"image_size": 8, "render_size": 9},
            "render_size: expected image_size=8",
        ),
    ],
)
def test_wrong_settings_are_refused_by_name(task, settings, message):
    with pytest.raises(ValueError, match=message):
        make(task, **settings)


@pytest.mark.parametrize(
    ("action", "message"),
    [
        ([0.0], r"action: expected shape \[A=2\], got \[1\]"),
        ([0.0, np.nan], r"finite values in \[\[-2.0, 0.0\], \[2.0, 1.0\]\], got \[0.0, nan\]$"),
        ([0.0, 1.01], r"finite values in .*got \[0.0, 1.01\]; .*ClipAction"),
    ],
)
def test_wrong_actions_are_refused_by_name(action, message):
    environment = make("gym:Falling-v0", observe="vectors")
    environment.reset(seed=0)
    with pytest.raises(ValueError, match=message):
        environment.step(action)


def test_a_task_without_drawing_does_not_render():
    environment = make("gym:Falling-v0", observe="vectors")
    environment.reset(seed=0)
    environment._made.unwrapped.render = lambda: None
    with pytest.raises(RuntimeError, match="render_mode='rgb_array', got NoneType"):
        environment.render()
