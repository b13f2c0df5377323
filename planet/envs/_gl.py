"""Makes OpenGL contexts with the library that was chosen, and ends them in time."""

from __future__ import annotations

import atexit
import importlib
import os
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from planet.envs._library import explained, prepare_import
from planet.envs.extra import import_extra

_rendering_pid: int | None = None
_open: weakref.WeakSet[Any] = weakref.WeakSet()


def is_forked() -> bool:
    """Tells whether this process was forked from one that rendered."""
    return _rendering_pid is not None and _rendering_pid != os.getpid()


def close_at_exit(owner: Any) -> None:
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
    """Makes an OpenGL context that is current only inside `with context.current()`.

    Afterwards the one before is current again. So a context may be used from any one thread at a
    time, and beside the suite's own renderer, which believes that its context stays current.

    Args:
      size: side of the largest frame in pixels.

    Raises:
      RenderingUnavailable: the library cannot make a context; the message says what helps.
      RuntimeError: after a fork, see `check_process`.
    """

    def __init__(self, size: int) -> None:
        global _rendering_pid
        check_process()
        self.backend = prepare_import()
        with explained(self.backend):
            module = import_extra(f"mujoco.{self.backend}")
            with _kept_current(module):
                self._gl = module.GLContext(size, size)
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
