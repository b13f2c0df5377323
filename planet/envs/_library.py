"""Chooses the OpenGL library that draws, and explains why none does.

The choice must be made before MuJoCo tries a context: `import mujoco` itself dies when MUJOCO_GL
names a library that is missing, and a failed `MjrContext` aborts the process at the second attempt.
So libraries are looked up by name first (EGL, then OSMesa), never tried.
"""

from __future__ import annotations

import ctypes.util
import grp
import importlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from planet.errors import advice

BACKENDS = ("egl", "osmesa")
APT_LINE = advice.system_packages("libegl1", "libgl1")
APT_LINE_OSMESA = advice.system_packages("libosmesa6")
APT_LINE_DRIVERS = advice.system_packages("libgl1-mesa-dri")

_DEVICE = "MUJOCO_EGL_DEVICE_ID"
# Values of MUJOCO_GL that MuJoCo and dm_control both know, and that say nothing about this package:
# a window needs a display, and their own rendering may be switched off.
_OTHERS = (
    "glfw", "on", "enable", "enabled", "true", "1",
    "off", "disable", "disabled", "false", "0",
)  # fmt: skip
# They choose the driver, and may name one that is not there (an image's NVIDIA driver, say).
_REDIRECTIONS = (
    "__EGL_VENDOR_LIBRARY_FILENAMES", "__EGL_VENDOR_LIBRARY_DIRS", "LIBGL_DRIVERS_PATH",
    "GBM_BACKENDS_PATH", "GALLIUM_DRIVER", "MESA_LOADER_DRIVER_OVERRIDE", "EGL_PLATFORM",
)  # fmt: skip
_NAMES = {"egl": "EGL", "osmesa": "OSMesa"}
_LIBRARY_PACKAGES = (
    "OpenGL", "glfw", "mujoco.egl", "mujoco.osmesa", "mujoco.glfw", "mujoco.rendering",
    "dm_control._render",
)  # fmt: skip


class RenderingUnavailable(RuntimeError):
    """Says why frames cannot be drawn here, and what helps against that cause.

    Attributes:
      what: the finding, a sentence.
      fix: the command, or the change, that helps.
    """

    def __init__(self, what: str, fix: str) -> None:
        super().__init__(what, fix)  # both, so that it can be pickled
        self.what = what
        self.fix = fix

    def __str__(self) -> str:
        return f"{self.what}; what helps:\n  {self.fix}"


def choose_backend() -> str:
    """Returns "egl" or "osmesa": the variables' wish, else the first library that is installed.

    Raises:
      RenderingUnavailable: no library was found, or one of MUJOCO_GL, PYOPENGL_PLATFORM and
        MUJOCO_EGL_DEVICE_ID has a value that cannot work.
    """
    wished = _wish()
    for backend in (wished,) if wished else BACKENDS:
        if _is_installed(backend):
            if backend == "egl":
                _check_device_number()
            return backend
    raise _missing(wished)


def prepare_import() -> str:
    """Makes `import mujoco` and `import dm_control` safe on a machine without a display.

    Sets MUJOCO_GL when it is unset and dm_control is not imported yet, so that they pick the same
    library as this package (and do not try GLFW, which needs a display), and writes the variables
    in the form that they all read: lower case, nothing around it. Sets LP_NUM_THREADS to 0 when it
    is unset: a small frame is a single tile of Mesa's software renderer, to which its threads only
    add a quarter of the time. Imports Triton where it is installed, as it is with PyTorch for CUDA:
    after Mesa's software renderer, which has an LLVM as well, its import ends the process, and
    PyTorch imports it with the first optimiser.

    Returns:
      the backend that contexts will use.

    Raises:
      RenderingUnavailable: as `choose_backend`.
    """
    backend = choose_backend()
    if "dm_control" not in sys.modules:
        os.environ["MUJOCO_GL"] = _value("MUJOCO_GL") or backend
    for name in ("PYOPENGL_PLATFORM", _DEVICE):
        if _value(name):
            os.environ[name] = _value(name)
        else:
            os.environ.pop(name, None)
    os.environ.setdefault("LP_NUM_THREADS", "0")
    with suppress(Exception):  # one that is missing or broken is no matter of frames
        importlib.import_module("triton")
    return backend


@contextmanager
def without_rendering() -> Iterator[None]:
    """Makes `import dm_control` inside `with` look for no OpenGL library, and need none.

    Its own rendering stays off for the process; the renderer of this package does not.
    """
    before = os.environ.get("MUJOCO_GL")
    os.environ["MUJOCO_GL"] = "off"
    try:
        yield
    finally:
        if before is None:
            del os.environ["MUJOCO_GL"]
        else:
            os.environ["MUJOCO_GL"] = before


@contextmanager
def explained(backend: str) -> Iterator[None]:
    """Turns what the OpenGL packages raise inside `with` into RenderingUnavailable.

    They raise errors of many types, while they are imported too. Errors that come from elsewhere,
    and packages that are missing, pass as they are.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) or not is_from_library(error):
            raise
        raise _explanation(error, backend) from error


def _value(name: str) -> str:
    return os.environ.get(name, "").strip().lower()


def _wish() -> str:
    """Returns the backend that the variables ask for; "" where they leave the choice."""
    wished, platform = _value("MUJOCO_GL"), _value("PYOPENGL_PLATFORM")
    for name, allowed in (("MUJOCO_GL", BACKENDS + _OTHERS), ("PYOPENGL_PLATFORM", BACKENDS)):
        if _value(name) not in ("", *allowed):
            raise RenderingUnavailable(
                f"{name}: expected 'egl', 'osmesa' or no value, got {os.environ[name]!r}",
                f"unset {name}",
            )
    if platform and wished in BACKENDS and wished != platform:
        raise RenderingUnavailable(
            f"PYOPENGL_PLATFORM={platform!r} conflicts with MUJOCO_GL={wished!r}: expected both to "
            "be 'egl', both 'osmesa', or one of them unset",
            f"unset {'PYOPENGL_PLATFORM' if _is_installed(wished) else 'MUJOCO_GL'}",
        )
    return platform or (wished if wished in BACKENDS else "")


def _is_installed(backend: str) -> bool:
    find = ctypes.util.find_library
    if backend == "egl":
        return bool(find("EGL") and (find("OpenGL") or find("GL")))
    return bool(find("OSMesa"))


def _check_device_number() -> None:
    value = _value(_DEVICE)
    if value and not (value.isascii() and value.isdecimal()):
        raise RenderingUnavailable(
            f"{_DEVICE}: expected the number of an EGL device, 0 for the first, "
            f"got {os.environ[_DEVICE]!r}",
            f"unset {_DEVICE}",
        )


def _missing(wished: str) -> RenderingUnavailable:
    what = "no OpenGL library to render with: "
    if not wished:
        return RenderingUnavailable(f"{what}neither EGL nor OSMesa was found", APT_LINE)
    variables = [name for name in ("MUJOCO_GL", "PYOPENGL_PLATFORM") if _value(name) == wished]
    what += f"{_NAMES[wished]} ({', '.join(variables)}) was not found"
    other = next(name for name in BACKENDS if name != wished)
    if _is_installed(other):
        return RenderingUnavailable(
            f"{what}, but {_NAMES[other]} is there", f"unset {' '.join(variables)}"
        )
    return RenderingUnavailable(what, APT_LINE_OSMESA if wished == "osmesa" else APT_LINE)


def is_from_library(error: BaseException) -> bool:
    """Tells whether the packages that draw raised this, while they were imported or later."""
    fatal = getattr(sys.modules.get("mujoco"), "FatalError", None)
    if fatal is not None and isinstance(error, fatal):  # MuJoCo's own calls of OpenGL
        return True
    trace = error.__traceback__
    while trace is not None:
        module = str(trace.tb_frame.f_globals.get("__name__"))
        if any(f"{module}.".startswith(f"{package}.") for package in _LIBRARY_PACKAGES):
            return True
        trace = trace.tb_next
    return False


def _explanation(error: Exception, backend: str) -> RenderingUnavailable:
    """Finds the cause of a failure of the library, the likeliest first."""
    reason = f"{type(error).__name__}: {_one_line(str(error))}"
    device, platform = _value(_DEVICE), _loaded_platform()
    if platform not in ("", backend):
        return RenderingUnavailable(
            f"PyOpenGL was imported before the first environment and has loaded "
            f"{platform.upper()}, so it cannot use {_NAMES[backend]} ({reason})",
            f"start Python with PYOPENGL_PLATFORM={backend}, or make the first environment before "
            "that import",
        )
    if backend == "egl" and device:
        return RenderingUnavailable(
            f"{_DEVICE}={device} is not an EGL device that can draw ({reason})", f"unset {_DEVICE}"
        )
    what = f"{_NAMES[backend]} is installed but made no OpenGL context ({reason})"
    if redirected := [name for name in _REDIRECTIONS if os.environ.get(name)]:
        given = ", ".join(f"{name}={os.environ[name]!r}" for name in redirected)
        return RenderingUnavailable(
            f"{what} with the drivers of {given}", f"unset {' '.join(redirected)}"
        )
    if backend == "egl" and (closed := _closed_devices()):
        node, group = closed[0]
        return RenderingUnavailable(
            f"{what}; this user may not open {node}",
            f'usermod -aG {group} "$USER"   # as root; then log in again',
        )
    return RenderingUnavailable(what, APT_LINE_DRIVERS if backend == "egl" else APT_LINE_OSMESA)


def _one_line(text: str) -> str:
    """Joins lines, and cuts what is long: OpenGL's errors list calls."""
    text = " ".join(text.split())
    return text if len(text) <= 200 else f"{text[:200]} ..."


def _loaded_platform() -> str:
    """Names the platform that PyOpenGL has loaded, such as "egl" or "glx"; "" before it has."""
    platform = getattr(sys.modules.get("OpenGL.platform"), "PLATFORM", None)
    return type(platform).__name__.removesuffix("Platform").lower() if platform else ""


def _closed_devices(folder: Path = Path("/dev/dri")) -> list[tuple[Path, str]]:
    """Finds graphics devices that this user may not open, each with the group that may."""
    nodes = [n for n in sorted(folder.glob("renderD*")) if not os.access(n, os.R_OK | os.W_OK)]
    return [(node, _group(node.stat().st_gid)) for node in nodes]


def _group(number: int) -> str:
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)
