import ctypes.util

import pytest

from planet.envs import RenderingUnavailable
from planet.envs._gl import choose_backend

EGL_LINE = "apt-get install -y --no-install-recommends libegl1 libgl1"
OSMESA_LINE = "apt-get install -y --no-install-recommends libosmesa6"


@pytest.fixture
def machine(monkeypatch):
    """Pretends that a machine has these libraries and variables."""

    def machine(libraries, mujoco_gl=None, pyopengl_platform=None):
        monkeypatch.setattr(
            ctypes.util, "find_library", lambda name: name if name in libraries else None
        )
        variables = {"MUJOCO_GL": mujoco_gl, "PYOPENGL_PLATFORM": pyopengl_platform}
        for name, value in variables.items():
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
    ],
)
def test_egl_is_first_osmesa_second_and_mujoco_gl_is_respected(
    machine, libraries, variable, backend
):
    machine(libraries, variable)
    assert choose_backend() == backend


def test_pyopengl_platform_alone_chooses_too(machine):
    machine(("EGL", "GL", "OSMesa"), None, "osmesa")
    assert choose_backend() == "osmesa"


@pytest.mark.parametrize(
    ("libraries", "variable", "words", "line"),
    [
        ((), None, "neither EGL nor OSMesa was found", EGL_LINE),
        (("EGL",), None, "neither EGL nor OSMesa was found", EGL_LINE),
        (("OSMesa",), "egl", "EGL (MUJOCO_GL) was not found", EGL_LINE),
        (("EGL", "GL"), "osmesa", "OSMesa (MUJOCO_GL) was not found", OSMESA_LINE),
    ],
)
def test_missing_libraries_are_one_error_with_the_apt_line(
    machine, libraries, variable, words, line
):
    machine(libraries, variable)
    with pytest.raises(RenderingUnavailable) as error:
        choose_backend()
    assert words in str(error.value)
    assert str(error.value).endswith(line)


@pytest.mark.parametrize(
    ("platform", "variable"), [("osmesa", "egl"), ("egl", "osmesa"), ("glx", None)]
)
def test_conflicting_variables_are_both_named(machine, platform, variable):
    machine(("EGL", "GL", "OSMesa"), variable, platform)
    with pytest.raises(RenderingUnavailable) as error:
        choose_backend()
    assert f"PYOPENGL_PLATFORM={platform!r}" in str(error.value)
    assert f"MUJOCO_GL={variable or ''!r}" in str(error.value)
