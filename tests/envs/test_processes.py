"""What only a fresh interpreter shows: import order, missing libraries, forks and the exit."""

import ctypes.util
import hashlib

import numpy as np
import pytest

pytest.importorskip("dm_control", reason="needs the train extra")

from planet.envs import make

PLAY = """
import hashlib
import numpy as np
import planet.envs

def play(task="cheetah-run", **settings):
    environment = planet.envs.make(task, quality="fast", **settings)
    digest = hashlib.sha256(environment.reset(seed=0)[0].tobytes())
    action = np.full(environment.action_space.shape, 0.5, np.float32)
    for _ in range(5):
        digest.update(environment.step(action)[0].tobytes())
    return environment, digest.hexdigest()
"""


@pytest.fixture(scope="module")
def digest(opengl):
    """Of five steps' pixels, drawn in this process."""
    environment = make("cheetah-run", quality="fast")
    digest = hashlib.sha256(environment.reset(seed=0)[0].tobytes())
    for _ in range(5):
        digest.update(environment.step(np.full(6, 0.5, np.float32))[0].tobytes())
    environment.close()
    return digest.hexdigest()


@pytest.mark.parametrize(
    ("first", "variable"),
    [
        ("", None),
        ("import mujoco", None),
        ("import mujoco, dm_control.suite", None),
        ("", "disable"),
    ],
)
def test_import_order_and_mujoco_gl_do_not_matter(run_script, digest, first, variable):
    script = f"{first}\n{PLAY}\nprint(play()[1])"
    result = run_script(script, MUJOCO_GL=variable)
    assert result.stdout.strip() == digest, result.stderr


def test_egl_and_osmesa_draw_the_same_pixels(run_script, opengl, digest):
    if not ctypes.util.find_library("OSMesa") or opengl != "egl":
        pytest.skip("needs both EGL and OSMesa")
    result = run_script(PLAY + "\nprint(play()[1])", MUJOCO_GL="osmesa")
    assert result.stdout.strip() == digest, result.stderr
    assert result.stderr == ""


@pytest.mark.parametrize(
    ("task", "end"),
    [
        ("cheetah-run", ""),
        ("cheetah-run", "environment.close(); del other"),
        ("cheetah-run", "environment.physics.render(64, 64)"),
        ("quadruped-escape", ""),  # the suite makes a context of its own
    ],
    ids=["open", "closed and deleted", "suite's own picture", "suite's own context"],
)
def test_exit_is_silent(run_script, opengl, task, end):
    result = run_script(
        PLAY
        + f"""
import logging
logging.getLogger("planet").setLevel(logging.ERROR)
environment, _ = play({task!r})
other, _ = play()
{end}
print("end")
"""
    )
    assert (result.stdout, result.stderr, result.returncode) == ("end\n", "", 0)


FORK = """
import os, sys
environment, _ = play()
{before}
child = os.fork()
if child == 0:
    try:
        {use}
        print("drew", flush=True)
    except RuntimeError as error:
        print(error, flush=True)
    {leave}
print("status", os.waitpid(child, 0)[1], flush=True)
"""


@pytest.mark.parametrize(
    ("before", "use", "threads"),
    [
        ("", "environment.step(np.zeros(6, np.float32))", "2"),
        ("", "environment.reset(seed=0)", None),
        ("environment.close()", "play()", "2"),
    ],
    ids=["step", "reset", "new after closing"],
)
def test_forked_child_is_refused_instead_of_waiting_for_ever(
    run_script, opengl, before, use, threads
):
    leave = "environment.close(); del environment; sys.exit(0)"
    script = PLAY + FORK.format(before=before, use=use, leave=leave)
    result = run_script(script, timeout=40, LP_NUM_THREADS=threads)
    assert "forked from process" in result.stdout, result.stderr
    assert "'forkserver' or 'spawn'" in result.stdout
    assert "drew" not in result.stdout
    assert "status 0" in result.stdout, result.stderr
    assert result.stderr == ""


def test_children_forked_before_the_first_frame_may_draw(run_script, digest):
    script = """
import os
environment = planet.envs.make("cheetah-run", quality="fast")
child = os.fork()
print(play()[1], flush=True)
environment.close()
if child:
    print("status", os.waitpid(child, 0)[1])
"""
    result = run_script(PLAY + script, timeout=40)
    assert result.stdout.split() == [digest, digest, "status", "0"], result.stderr


@pytest.mark.parametrize("context", ["fork", "forkserver"])
def test_gymnasiums_workers_draw(run_script, opengl, context):
    script = f"""
import gymnasium
import planet.envs

def main():
    settings = dict(image_size=16, quality="fast")
    vector = gymnasium.make_vec(
        "planet.envs:planet/CheetahRun-v0", 2, "async", dict(context={context!r}), **settings
    )
    print(vector.reset(seed=0)[0].std() > 1, flush=True)
    vector.close()

if __name__ == "__main__":
    main()
"""
    result = run_script(script, timeout=60)
    assert result.stdout == "True\n", result.stderr


WITHOUT_LIBRARIES = """
import ctypes.util, sys
find = ctypes.util.find_library
ctypes.util.find_library = lambda name: None if name in {missing!r} else find(name)
import planet.envs
try:
    planet.envs.make("cheetah-run")
except planet.envs.RenderingUnavailable as error:
    print(error)
print("mujoco" in sys.modules)
"""
EGL_LINE = "apt-get install -y --no-install-recommends libegl1 libgl1"
OSMESA_LINE = "apt-get install -y --no-install-recommends libosmesa6"


@pytest.mark.parametrize(
    ("missing", "variable", "words", "line"),
    [
        (("EGL", "OSMesa"), None, "neither EGL nor OSMesa was found", EGL_LINE),
        (("GL", "OpenGL", "OSMesa"), None, "neither EGL nor OSMesa was found", EGL_LINE),
        (("EGL",), "egl", "EGL (MUJOCO_GL) was not found", EGL_LINE),
        (("OSMesa",), "osmesa", "OSMesa (MUJOCO_GL) was not found", OSMESA_LINE),
    ],
)
def test_missing_libraries_are_one_error_with_the_apt_line(
    run_script, missing, variable, words, line
):
    result = run_script(WITHOUT_LIBRARIES.format(missing=missing), MUJOCO_GL=variable)
    *message, imported = result.stdout.strip().split("\n")
    assert words in message[0], result.stderr
    assert message[1].strip() == line
    assert imported == "False"


@pytest.mark.parametrize(
    ("platform", "variable"), [("osmesa", "egl"), ("egl", "osmesa"), ("glx", None)]
)
def test_conflicting_variables_are_both_named(run_script, platform, variable):
    script = WITHOUT_LIBRARIES.format(missing=())
    result = run_script(script, MUJOCO_GL=variable, PYOPENGL_PLATFORM=platform)
    assert f"PYOPENGL_PLATFORM={platform!r} conflicts with MUJOCO_GL={variable or ''!r}" in (
        result.stdout
    ), result.stderr


def test_osmesa_is_the_second_choice(run_script):
    result = run_script(
        """
import ctypes.util
ctypes.util.find_library = lambda name: "libOSMesa.so.8" if name == "OSMesa" else None
from planet.envs._gl import choose_backend
print(choose_backend())
"""
    )
    assert result.stdout.strip() == "osmesa", result.stderr
