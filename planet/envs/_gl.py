"""Chooses the headless OpenGL library at run time and makes contexts with it.

The choice must be made before MuJoCo tries a context: `import mujoco` itself dies when MUJOCO_GL
names a library that is missing, and a failed `MjrContext` aborts the process at the second attempt.
So libraries are looked up by name first (EGL, then OSMesa), never tried.
"""

from __future__ import annotations

import atexit
import ctypes.util
import importlib
import os
import sys
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from planet import advice

BACKENDS = ("egl", "osmesa")
APT_LINE = advice.system_packages("libegl1", "libgl1")
APT_LINE_OSMESA = advice.system_packages("libosmesa6")

_rendering_pid: int | None = None
_open: weakref.WeakSet[Closable] = weakref.WeakSet()


class Closable(Protocol):
    """Something that holds OpenGL objects until it is closed."""

    def close(self) -> None:
        """Frees them; may be called again."""


class RenderingUnavailable(RuntimeError):
    """No usable OpenGL library, or conflicting settings; the message says what to do."""


def choose_backend() -> str:
    """Returns "egl" or "osmesa": the variables' wish, else the first library that is installed.

    Raises:
      RenderingUnavailable: no library was found, or MUJOCO_GL and PYOPENGL_PLATFORM disagree.
    """
    wished = os.environ.get("MUJOCO_GL", "").strip().lower()
    platform = os.environ.get("PYOPENGL_PLATFORM", "").strip().lower()
    if platform and (platform not in BACKENDS or (wished in BACKENDS and wished != platform)):
        raise RenderingUnavailable(
            f"PYOPENGL_PLATFORM={platform!r} conflicts with MUJOCO_GL={wished!r}: expected both to "
            "be 'egl', both 'osmesa', or PYOPENGL_PLATFORM unset"
        )
    for backend in (platform or wished,) if (platform or wished) in BACKENDS else BACKENDS:
        if _is_installed(backend):
            return backend
    raise RenderingUnavailable(_missing_message(platform or wished))


def prepare_import() -> str:
    """Makes `import mujoco` and `import dm_control` safe on a machine without a display.

    Sets MUJOCO_GL when it is unset and dm_control is not imported yet, so that they pick the same
    library as this package (and do not try GLFW, which needs a display). Sets LP_NUM_THREADS to 0
    when it is unset: a small frame is a single tile of Mesa's software renderer, to which its
    threads only add a quarter of the time.

    Returns:
      the backend that contexts will use.

    Raises:
      RenderingUnavailable: as `choose_backend`.
    """
    backend = choose_backend()
    if not os.environ.get("MUJOCO_GL") and "dm_control" not in sys.modules:
        os.environ["MUJOCO_GL"] = backend
    os.environ.setdefault("LP_NUM_THREADS", "0")
    return backend


def is_forked() -> bool:
    """Tells whether this process was forked from one that rendered."""
    return _rendering_pid is not None and _rendering_pid != os.getpid()


def close_at_exit(owner: Closable) -> None:
    """Closes the owner, if it still lives, before EGL is shut down at the interpreter's exit.

    EGL's own exit registers itself at the first context, so this has to be called after that.
    """
    _open.add(owner)
    atexit.unregister(_close_all)
    atexit.register(_close_all)


def check_process() -> None:
    """Refuses OpenGL in a process forked from one that rendered: it would wait for ever.

    The driver's threads do not survive a fork, but their locks do.

    Raises:
      RuntimeError: this process is such a child.
    """
    if is_forked():
        raise RuntimeError(
            f"rendering: process {os.getpid()} was forked from process {_rendering_pid} after that "
            "had rendered, and OpenGL does not survive a fork; start workers with the "
            "'forkserver' or 'spawn' method (AsyncVectorEnv(..., context='forkserver')), or make "
            "the first frame only in the workers"
        )


class Context:
    """An OpenGL context that is current only inside `with context.current()`.

    What was current before comes back after. So it may be used from any one thread at a time, and
    beside the suite's own renderer, which believes that its context stays current.

    Args:
      size: side of the largest frame in pixels.

    Raises:
      RenderingUnavailable: the library cannot make a context; the message says what to install.
      RuntimeError: after a fork, see `check_process`.
    """

    def __init__(self, size: int) -> None:
        global _rendering_pid
        check_process()
        self.backend = prepare_import()
        try:
            module = importlib.import_module(f"mujoco.{self.backend}")
            with _kept_current(module):
                self._gl = module.GLContext(size, size)
        except (ImportError, AttributeError, RuntimeError) as error:
            apt = APT_LINE if self.backend == "egl" else APT_LINE_OSMESA
            raise RenderingUnavailable(
                f"{self.backend} is installed but made no OpenGL context ({error}); on Debian and "
                f"Ubuntu install its drivers:\n  {apt}"
            ) from error
        self._module = module
        if _rendering_pid is None and self.backend == "egl":
            # A forked child would wait for ever in EGL's own exit as well.
            terminate = module.EGL.eglTerminate
            os.register_at_fork(after_in_child=lambda: atexit.unregister(terminate))
        _rendering_pid = os.getpid()

    @contextmanager
    def current(self) -> Iterator[None]:
        """Makes the context current inside `with`."""
        check_process()
        with _kept_current(self._module):
            self._gl.make_current()
            yield

    def free(self) -> None:
        """Destroys the context."""
        with _kept_current(self._module):
            self._gl.free()

    def renderer_name(self) -> str:
        """Returns the driver's GL_RENDERER string."""
        gl = importlib.import_module("OpenGL.GL")
        with self.current():
            return bytes(gl.glGetString(gl.GL_RENDERER)).decode()


def _close_all() -> None:
    for owner in list(_open):
        owner.close()


@contextmanager
def _kept_current(module: Any) -> Iterator[None]:
    """Puts back the EGL context that was current before; making and freeing one drops it too.

    OSMesa has no such question to ask.
    """
    egl = getattr(module, "EGL", None)
    previous = egl.eglGetCurrentContext() if egl else None
    try:
        yield
    finally:
        if egl:
            surface, context = egl.EGL_NO_SURFACE, previous or egl.EGL_NO_CONTEXT
            egl.eglMakeCurrent(module.EGL_DISPLAY, surface, surface, context)


def _is_installed(backend: str) -> bool:
    find = ctypes.util.find_library
    if backend == "egl":
        return bool(find("EGL") and (find("OpenGL") or find("GL")))
    return bool(find("OSMesa"))


def _missing_message(wished: str) -> str:
    apt = APT_LINE_OSMESA if wished == "osmesa" else APT_LINE
    name = {"egl": "EGL", "osmesa": "OSMesa"}.get(wished, "neither EGL nor OSMesa")
    found = f"{name} was found" if wished not in BACKENDS else f"{name} (MUJOCO_GL) was not found"
    return f"no OpenGL library to render with: {found}; on Debian and Ubuntu install it:\n  {apt}"
