"""Tries in fresh interpreters: import order, missing libraries, forks and the exit."""

import ctypes.util
import hashlib
import pickle

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
    """Returns the hash of five steps' pixels, drawn in this process."""
    environment = make("cheetah-run", quality="fast")
    digest = hashlib.sha256(environment.reset(seed=0)[0].tobytes())
    for _ in range(5):
        digest.update(environment.step(np.full(6, 0.5, np.float32))[0].tobytes())
    environment.close()
    return digest.hexdigest()


@pytest.mark.parametrize(
    ("first", "variable"),
    [("import mujoco", None), ("import mujoco, dm_control.suite", None), ("", " Disable ")],
)
def test_import_order_and_mujoco_gl_do_not_matter(run_script, digest, first, variable):
    script = f"{first}\n{PLAY}\nprint(play()[1])"
    result = run_script(script, MUJOCO_GL=variable)
    assert result.stdout.strip() == digest, result.stderr


def test_triton_is_imported_before_a_driver_brings_another_llvm(run_script, digest, tmp_path):
    triton = tmp_path / "triton.py"  # beside the script
    triton.write_text("with open('/proc/self/maps') as maps: early = 'LLVM' not in maps.read()")
    result = run_script(f"import sys\n{PLAY}\nprint(play()[1], sys.modules['triton'].early)")
    assert result.stdout.split() == [digest, "True"], result.stderr
    triton.write_text("1 / 0")
    result = run_script(f"{PLAY}\nprint(play()[1])")
    assert result.stdout.strip() == digest, result.stderr


def test_egl_and_osmesa_draw_the_same_pixels(run_script, opengl, digest):
    if not ctypes.util.find_library("OSMesa") or opengl != "egl":
        pytest.skip("needs both EGL and OSMesa")
    result = run_script(PLAY + "\nprint(play()[1])", MUJOCO_GL="osmesa")
    assert result.stdout.strip() == digest, result.stderr
    assert result.stderr == ""


@pytest.mark.parametrize(
    "end",
    ["environment.physics.render(64, 64)", "environment.close(); del other"],
    ids=["suite's own picture", "closed and deleted"],
)
def test_exit_is_silent(run_script, opengl, end):
    script = f"""
import logging
logging.getLogger("planet").setLevel(logging.ERROR)
environment, _ = play()
other, _ = play()
{end}
print("end")
"""
    result = run_script(PLAY + script)
    assert (result.stdout, result.stderr, result.returncode) == ("end\n", "", 0)


def test_forked_children_are_refused_instead_of_waiting_for_ever(run_script, opengl):
    """A step, a reset, and a new environment after the parent has closed its own."""
    script = """
import os, sys
environment, _ = play()
uses = [lambda: environment.step(np.zeros(6, np.float32)), lambda: environment.reset(seed=0), play]
for use in uses:
    if use is play:
        environment.close()
    child = os.fork()
    if child == 0:
        try:
            use()
            print("drew", flush=True)
        except RuntimeError as error:
            print(error, flush=True)
        environment.close()
        del environment
        sys.exit(0)
    print("status", os.waitpid(child, 0)[1], flush=True)
"""
    result = run_script(PLAY + script, LP_NUM_THREADS="2")
    errors, ends = result.stdout.splitlines()[::2], result.stdout.splitlines()[1::2]
    assert ends == ["status 0"] * 3 and result.stderr == "", (result.stdout, result.stderr)
    assert all("forked from process" in error for error in errors)
    assert all("'forkserver' or 'spawn'" in error for error in errors)


def test_children_forked_before_the_first_frame_may_draw(run_script, digest):
    script = """
import os
environment = planet.envs.make("cheetah-run", quality="fast")
child = os.fork()
line = play()[1] + chr(10)
os.write(1, line.encode())  # one call: print would write the line's end apart where unbuffered
environment.close()
if child:
    print("status", os.waitpid(child, 0)[1])
"""
    result = run_script(PLAY + script)
    assert result.stdout.split() == [digest, digest, "status", "0"], result.stderr


def test_gymnasiums_workers_draw(run_script, opengl):
    script = """
import gymnasium

if __name__ == "__main__":
    settings = dict(image_size=16, quality="fast")
    vector = gymnasium.make_vec(
        "planet.envs:planet/CheetahRun-v0", 2, "async", dict(context="fork"), **settings
    )
    print(vector.reset(seed=0)[0].std() > 1, flush=True)
    vector.close()
"""
    result = run_script(script)
    assert result.stdout == "True\n", result.stderr


def test_missing_libraries_are_said_before_mujoco_is_imported(run_script):
    result = run_script(
        """
import ctypes.util, sys
ctypes.util.find_library = lambda name: None
import planet.envs
try:
    planet.envs.make("cheetah-run")
except planet.envs.RenderingUnavailable as error:
    print(error)
print("mujoco" in sys.modules)
"""
    )
    message, line, imported = result.stdout.strip().split("\n")
    assert "neither EGL nor OSMesa was found" in message, result.stderr
    assert line.strip().endswith("apt-get install -y --no-install-recommends libegl1 libgl1")
    assert imported == "False"


def test_a_device_number_that_is_not_there_is_named(run_script, opengl):
    if opengl != "egl":
        pytest.skip("needs EGL")
    script = """
import planet.envs
for first in ("", "import mujoco"):
    exec(first)
    try:
        planet.envs.make("cheetah-run").reset()
    except planet.envs.RenderingUnavailable as error:
        print(error.fix)
"""
    result = run_script(script, MUJOCO_EGL_DEVICE_ID="99")
    assert result.stdout.split("\n")[:2] == ["unset MUJOCO_EGL_DEVICE_ID"] * 2, result.stderr


def test_pyopengl_that_was_loaded_for_a_display_is_named(run_script, opengl):
    if opengl != "egl":
        pytest.skip("needs EGL")
    script = """
import OpenGL.GL
import planet.envs
try:
    planet.envs.make("cheetah-run").reset()
except planet.envs.RenderingUnavailable as error:
    print(error)
"""
    result = run_script(script)
    assert "has loaded GLX" in result.stdout, result.stderr
    assert "PYOPENGL_PLATFORM=egl" in result.stdout


def test_a_pickled_environment_goes_on_in_another_process(run_script, opengl, tmp_path):
    environment = make("quadruped-escape", image_size=16, quality="fast")
    environment.reset(seed=3)
    action = np.full(12, 0.3, np.float32)
    environment.step(action)
    (tmp_path / "environment").write_bytes(pickle.dumps(environment))
    expected = [environment.step(action)[0] for _ in range(3)] + [environment.reset()[0]]
    script = f"""
import hashlib, pickle
import numpy as np
environment = pickle.load(open({str(tmp_path / "environment")!r}, "rb"))
frames = [environment.step(np.full(12, 0.3, np.float32))[0] for _ in range(3)]
frames.append(environment.reset()[0])
print(hashlib.sha256(np.stack(frames).tobytes()).hexdigest())
"""
    result = run_script(script)
    digest = hashlib.sha256(np.stack(expected).tobytes()).hexdigest()
    assert result.stdout.strip() == digest, result.stderr
    environment.close()
