import threading

import numpy as np
import pytest

pytest.importorskip("dm_control", reason="needs the train extra")

from planet.envs import make
from planet.envs.measure import measure_frame_ms, renderer_info
from planet.envs.rendering import QUALITIES, Renderer

pytestmark = pytest.mark.usefixtures("opengl")

PAPER_TASKS = [
    "cartpole-swingup", "reacher-easy", "cheetah-run", "finger-spin", "ball_in_cup-catch",
    "walker-walk",
]  # fmt: skip


def grey_difference(frames, others):
    """Mean absolute difference of grey levels."""
    return np.abs(frames.mean(-1) - others.mean(-1)).mean()


def frames_of(task, qualities, states=4):
    """Frames [quality, state, 64, 64, 3] of one task in the same states."""
    environment = make(task, image_size=16, quality="fast")
    environment.action_space.seed(0)
    environment.reset(seed=0)
    physics = environment.physics
    renderers = [Renderer(physics.model.ptr, 64, quality) for quality in qualities]
    frames = []
    for _ in range(states):
        for _ in range(10):
            environment.step(environment.action_space.sample())
        frames.append([renderer.render(physics.data.ptr) for renderer in renderers])
    for renderer in renderers:
        renderer.close()
    environment.close()
    return np.stack(frames, 1).astype(np.float64)


@pytest.mark.parametrize("task", ["cheetah-run", "ball_in_cup-catch", "quadruped-escape"])
def test_reference_is_the_suites_picture_pixel_for_pixel(task):
    environment = make(task, quality="reference", action_repeat=1)
    observation, _ = environment.reset(seed=0)
    for _ in range(2):
        theirs = environment.physics.render(64, 64, camera_id=0)
        np.testing.assert_array_equal(observation, theirs)
        observation, _ = environment.reset(seed=1)
    environment.close()


@pytest.mark.parametrize("task", PAPER_TASKS)
def test_faithful_is_within_half_a_grey_level_of_the_reference_and_fast_is_similar(
    task, record_property
):
    reference, faithful, fast = frames_of(task, ["reference", "faithful", "fast"])
    differences = [float(grey_difference(frames, reference)) for frames in (faithful, fast)]
    record_property("differences", differences)
    assert 0 < differences[0] < 0.5
    assert 0.5 < differences[1] < 30
    assert np.corrcoef(fast.ravel(), reference.ravel())[0, 1] > 0.8


def test_faster_qualities_draw_less():
    """Shadow map, samples of a pixel, triangles of curved bodies; the reference has the suite's."""
    environment = make("cheetah-run")
    suite = environment.physics.model.vis.quality
    own = (suite.shadowsize, suite.offsamples, suite.numslices, suite.numstacks, suite.numquads)
    environment.close()
    work = {}
    for name, quality in QUALITIES.items():
        wanted = (
            quality.shadow_size, quality.samples, quality.slices, quality.stacks, quality.quads
        )  # fmt: skip
        pairs = zip(wanted, own, strict=True)
        work[name] = [theirs if ours is None else ours for ours, theirs in pairs]
    for faster, slower in (("fast", "faithful"), ("faithful", "reference")):
        pairs = list(zip(work[faster], work[slower], strict=True))
        assert all(less <= more for less, more in pairs) and work[faster] != work[slower]
    assert not QUALITIES["fast"].reflections


def test_model_is_left_as_it_was():
    environment = make("cheetah-run", quality="fast")
    visual = environment.physics.model.vis
    before = (visual.quality.shadowsize, visual.quality.numslices, visual.global_.offwidth)
    environment.reset(seed=0)
    after = (visual.quality.shadowsize, visual.quality.numslices, visual.global_.offwidth)
    assert before == after
    environment.close()


def test_closing_is_final_and_may_be_repeated():
    physics = make("ball_in_cup-catch").physics
    renderer = Renderer(physics.model.ptr, 32)
    assert renderer.render(physics.data.ptr).shape == (32, 32, 3)
    renderer.close()
    renderer.close()
    with pytest.raises(RuntimeError, match="expected an open renderer, got a closed one"):
        renderer.render(physics.data.ptr)


def test_renderers_do_not_disturb_each_other_or_the_suites_own():
    environments = [make(task, quality="fast") for task in ("cheetah-run", "walker-walk")]
    alone = [environment.reset(seed=0)[0] for environment in environments]
    theirs = environments[0].physics.render(64, 64, camera_id=0)
    third = make("reacher-easy", quality="fast")
    third.reset(seed=0)
    third.close()
    for _ in range(2):
        for environment, frame in zip(environments, alone, strict=True):
            np.testing.assert_array_equal(environment.reset(seed=0)[0], frame)
        np.testing.assert_array_equal(environments[0].physics.render(64, 64, camera_id=0), theirs)
    for environment in environments:
        environment.close()


def test_a_renderer_may_be_used_from_another_thread():
    environment = make("cheetah-run", quality="fast")
    here, _ = environment.reset(seed=0)
    there = []
    thread = threading.Thread(target=lambda: there.append(environment.reset(seed=0)[0]))
    thread.start()
    thread.join()
    np.testing.assert_array_equal(there[0], here)
    np.testing.assert_array_equal(environment.reset(seed=0)[0], here)
    environment.close()


def test_free_camera_and_other_cameras_can_be_chosen():
    frames = []
    for camera in (-1, 0, 1):
        environment = make("cheetah-run", quality="fast", camera=camera)
        frames.append(environment.reset(seed=0)[0])
        environment.close()
    assert all((frames[i] != frames[j]).any() for i, j in ((0, 1), (0, 2), (1, 2)))


def test_renderer_info_names_backend_and_driver(opengl):
    info = renderer_info()
    assert info["backend"] == opengl
    assert info["renderer"]


def test_measured_times_are_positive_and_ordered():
    times = measure_frame_ms("fast", 10)
    assert set(times) == {"median", "p95", "cpu"}
    assert 0 < times["median"] <= times["p95"]
