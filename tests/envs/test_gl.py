"""Checks which library is chosen, and what is said where none can draw."""

import ctypes.util
import os
import pickle
import sys
import types

import pytest

from planet.envs import RenderingUnavailable, _library
from planet.envs._library import choose_backend, explained, prepare_import
from planet.errors import advice

EGL_LINE = advice.system_packages("libegl1", "libgl1")
OSMESA_LINE = advice.system_packages("libosmesa6")
BOTH = ("EGL", "GL", "OSMesa")


@pytest.fixture
def machine(monkeypatch):
    """Pretends that a machine has these libraries and variables."""

    def machine(libraries, mujoco_gl=None, pyopengl_platform=None, device=None):
        monkeypatch.setattr(
            ctypes.util, "find_library", lambda name: name if name in libraries else None
        )
        for name, value in (
            ("MUJOCO_GL", mujoco_gl),
            ("PYOPENGL_PLATFORM", pyopengl_platform),
            ("MUJOCO_EGL_DEVICE_ID", device),
        ):
            monkeypatch.delenv(name, raising=False)
            if value is not None:
                monkeypatch.setenv(name, value)

    return machine


@pytest.mark.parametrize(
    ("libraries", "variable", "backend"),
    [
        (("EGL", "GL", "OSMesa"), None, "egl"),
        (("EGL", "OpenGL"), None, "egl"),
        (("EGL", "OSMesa"), None, "osmesa"),  # EGL alone cannot draw
        (("OSMesa",), None, "osmesa"),
        (("EGL", "GL", "OSMesa"), "osmesa", "osmesa"),
        (("EGL", "GL", "OSMesa"), "egl", "egl"),
        (("EGL", "GL"), "glfw", "egl"),
        (("EGL", "GL"), "disable", "egl"),
        (BOTH, " OSMesa ", "osmesa"),
        (BOTH, "EGL", "egl"),
        (BOTH, "   ", "egl"),
        (BOTH, "GLFW", "egl"),
    ],
)
def test_egl_is_first_osmesa_second_and_mujoco_gl_is_respected(
    machine, libraries, variable, backend
):
    machine(libraries, variable)
    assert choose_backend() == backend
    machine(BOTH, None, backend)  # PYOPENGL_PLATFORM alone chooses too
    assert choose_backend() == backend


@pytest.mark.parametrize(
    ("libraries", "variables", "words", "fix"),
    [
        ((), {}, "neither EGL nor OSMesa was found", EGL_LINE),
        (("EGL",), {}, "neither EGL nor OSMesa was found", EGL_LINE),
        ((), {"mujoco_gl": "egl"}, "EGL (MUJOCO_GL) was not found", EGL_LINE),
        ((), {"mujoco_gl": "osmesa"}, "OSMesa (MUJOCO_GL) was not found", OSMESA_LINE),
        (("OSMesa",), {"mujoco_gl": "EGL"}, "but OSMesa is there", "unset MUJOCO_GL"),
        (("EGL", "GL"), {"mujoco_gl": "osmesa"}, "but EGL is there", "unset MUJOCO_GL"),
        (("EGL", "GL"), {"mujoco_gl": "osmesa", "pyopengl_platform": "OSMesa"},
         "OSMesa (MUJOCO_GL, PYOPENGL_PLATFORM) was not found, but EGL is there",
         "unset MUJOCO_GL PYOPENGL_PLATFORM"),
        (BOTH, {"mujoco_gl": "vulkan"}, "got 'vulkan'", "unset MUJOCO_GL"),
        (BOTH, {"mujoco_gl": "glx"}, "got 'glx'", "unset MUJOCO_GL"),
        (BOTH, {"pyopengl_platform": "GLX"},
         "PYOPENGL_PLATFORM: expected 'egl', 'osmesa' or no value, got 'GLX'",
         "unset PYOPENGL_PLATFORM"),
        (BOTH, {"device": "first"}, "got 'first'", "unset MUJOCO_EGL_DEVICE_ID"),
        (BOTH, {"device": "-1"}, "got '-1'", "unset MUJOCO_EGL_DEVICE_ID"),
        (BOTH, {"device": "1.0"}, "got '1.0'", "unset MUJOCO_EGL_DEVICE_ID"),
    ],
)  # fmt: skip
def test_every_cause_has_its_own_fix(machine, libraries, variables, words, fix):
    machine(libraries, **variables)
    with pytest.raises(RenderingUnavailable) as error:
        choose_backend()
    assert words in error.value.what
    assert error.value.fix.startswith(fix)
    assert str(error.value) == f"{error.value.what}; what helps:\n  {error.value.fix}"
    again = pickle.loads(pickle.dumps(error.value))  # as Gymnasium's workers send it
    assert str(again) == str(error.value)


def test_variables_are_written_as_mujoco_dm_control_and_pyopengl_read_them(machine, monkeypatch):
    machine(BOTH, " EGL ", "Egl", " 0 ")
    monkeypatch.delitem(sys.modules, "dm_control", raising=False)
    assert prepare_import() == "egl"
    assert os.environ["MUJOCO_GL"] == os.environ["PYOPENGL_PLATFORM"] == "egl"
    assert os.environ["MUJOCO_EGL_DEVICE_ID"] == "0"
    machine(BOTH, " ", " ", "")
    assert prepare_import() == "egl"
    assert os.environ["MUJOCO_GL"] == "egl"
    assert not {"PYOPENGL_PLATFORM", "MUJOCO_EGL_DEVICE_ID"} & set(os.environ)


def raise_inside(package, error):
    """Raises the error from a function of that package, as a traceback shows it."""
    scope = {"__name__": package, "error": error}
    exec("def fail():\n    raise error", scope)
    scope["fail"]()


@pytest.mark.parametrize(
    "package", ["OpenGL.raw.EGL", "mujoco.egl", "mujoco.rendering.classic", "dm_control._render"]
)
@pytest.mark.parametrize("kind", [ImportError, AttributeError, ValueError, Exception])
def test_whatever_the_opengl_packages_raise_is_one_error(machine, package, kind):
    machine(BOTH)
    with pytest.raises(RenderingUnavailable, match="made no OpenGL context"), explained("egl"):
        raise_inside(package, kind("broken"))


@pytest.mark.parametrize(
    ("package", "error"),
    [
        ("planet.envs.dmc", ValueError("mine")),
        ("dm_control.suite", AttributeError("mine")),
        ("OpenGLike", RuntimeError("mine")),
        ("mujoco.egl", ModuleNotFoundError("No module named 'OpenGL'")),
    ],
)
def test_other_errors_pass_as_they_are(machine, package, error):
    machine(BOTH)
    with pytest.raises(type(error)) as raised, explained("egl"):
        raise_inside(package, error)
    assert raised.value is error


def explanation(backend="egl"):
    with pytest.raises(RenderingUnavailable) as raised, explained(backend):
        raise_inside("mujoco.egl", RuntimeError("no\n\tdisplay" + " and so on" * 99))
    assert "(RuntimeError: no display and so on" in raised.value.what
    assert len(raised.value.what) < 400 and "\n" not in raised.value.what
    return raised.value


def test_a_failing_library_is_explained_by_its_cause(machine, monkeypatch, tmp_path):
    monkeypatch.delitem(sys.modules, "OpenGL.platform", raising=False)
    machine(BOTH)
    monkeypatch.setattr(_library, "_closed_devices", list)
    assert "libgl1-mesa-dri" in explanation().fix
    assert "libosmesa6" in explanation("osmesa").fix
    monkeypatch.setenv("LIBGL_DRIVERS_PATH", "/nowhere")
    assert explanation().what.endswith(" with the drivers of LIBGL_DRIVERS_PATH='/nowhere'")
    assert explanation().fix == "unset LIBGL_DRIVERS_PATH"
    monkeypatch.delenv("LIBGL_DRIVERS_PATH")
    closed = [(tmp_path / "renderD128", "render")]
    monkeypatch.setattr(_library, "_closed_devices", lambda: closed)
    assert str(tmp_path / "renderD128") in explanation().what
    assert explanation().fix.startswith('usermod -aG render "$USER"')
    machine(BOTH, device="3")
    assert "MUJOCO_EGL_DEVICE_ID=3" in explanation().what
    assert explanation().fix == "unset MUJOCO_EGL_DEVICE_ID"
    loaded = types.SimpleNamespace(PLATFORM=type("GLXPlatform", (), {})())
    monkeypatch.setitem(sys.modules, "OpenGL.platform", loaded)
    assert "has loaded GLX" in explanation().what
    assert "PYOPENGL_PLATFORM=egl" in explanation().fix


def test_devices_that_may_not_be_opened_are_found_with_their_group(tmp_path, monkeypatch):
    for name in ("card0", "renderD128", "renderD129"):
        (tmp_path / name).touch()
    monkeypatch.setattr(os, "access", lambda path, mode: path.name != "renderD129")
    monkeypatch.setattr(_library, "_group", lambda number: "render")
    assert _library._closed_devices(tmp_path) == [(tmp_path / "renderD129", "render")]
    assert _library._closed_devices(tmp_path / "missing") == []


@pytest.mark.parametrize(("platform", "variable"), [("osmesa", "egl"), ("egl", "osmesa")])
def test_conflicting_variables_are_both_named(machine, platform, variable):
    machine(("EGL", "GL", "OSMesa"), variable, platform)
    with pytest.raises(RenderingUnavailable) as error:
        choose_backend()
    assert f"PYOPENGL_PLATFORM={platform!r}" in str(error.value)
    assert error.value.fix == "unset PYOPENGL_PLATFORM"
    machine(("EGL", "GL") if platform == "egl" else ("OSMesa",), variable, platform)
    with pytest.raises(RenderingUnavailable) as error:  # what is left is there
        choose_backend()
    assert error.value.fix == "unset MUJOCO_GL"
    assert f"MUJOCO_GL={variable or ''!r}" in str(error.value)
