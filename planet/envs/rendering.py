"""Renders square frames of a MuJoCo model, many times faster than the suite does without a GPU.

The suite's renderer spends its time on a 2048 x 2048 shadow map, finely tessellated capsules,
reflections and a multisampled 640 x 480 buffer, whatever the size of the picture. A quality says
how much of this is kept.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from planet.envs import _gl
from planet.envs._library import explained
from planet.errors.checks import check_choice
from planet.errors.scalars import check_int

MAX_FRAME = 16384
"""Pixels per side of the largest frame, as Mesa and the drivers of graphics cards have it."""


@dataclass(frozen=True)
class Quality:
    """Says how much is kept of the suite's picture; None keeps the model's own value."""

    shadow_size: int | None  # side of the shadow map in texels; 0 draws no shadows
    reflections: bool
    samples: int | None  # multisampling of the frame
    slices: int | None  # tessellation: round, along the axis, and of boxes and planes
    stacks: int | None
    quads: int | None


QUALITIES: dict[str, Quality] = {
    "reference": Quality(None, True, None, None, None, None),
    "faithful": Quality(320, True, 4, 28, 4, 2),
    "fast": Quality(0, False, 0, 8, 4, 2),
}
"""reference: the suite's own picture. faithful: within half a grey level of it on average. fast: no
shadows, reflections or multisampling; the floor is darker, since the suite's lamps reach it only in
the shadow pass."""


class Renderer:
    """Draws one model with one camera at one size; owns its context `gl` until closed.

    Args:
      model: `mujoco.MjModel`; read here, and left as it was.
      size: side of the square frame in pixels, at most `MAX_FRAME`.
      quality: "reference", "faithful" or "fast".
      camera: number of a camera of the model, or -1 for the free camera.

    Raises:
      ValueError: an argument is out of range.
      RenderingUnavailable: there is no OpenGL library.
      RuntimeError: this process was forked from one that rendered.
    """

    def __init__(self, model: Any, size: int, quality: str = "faithful", camera: int = 0) -> None:
        settings = quality_of(quality)
        check_int("camera", camera, -1, model.ncam - 1)
        gl = _gl.Context(size)
        import mujoco

        with explained(gl.backend), gl.current(), _visual(model, size, settings):
            context = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_50)
            mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, context)
        self._model = model
        self._scene = mujoco.MjvScene(model, max(1000, 2 * model.ngeom))
        self._scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = settings.shadow_size != 0
        self._scene.flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = settings.reflections
        self._option, self._rectangle = mujoco.MjvOption(), mujoco.MjrRect(0, 0, size, size)
        self._option.flags[mujoco.mjtVisFlag.mjVIS_RANGEFINDER] = False  # as the suite does
        self._camera = _camera(model, camera)
        self._buffer = np.empty((size, size, 3), np.uint8)
        self._context, self.gl = context, gl
        self._release = weakref.finalize(self, _release, [context, gl], os.getpid())
        self._release.atexit = False
        _gl.close_at_exit(self)

    def render(self, data: Any) -> NDArray[np.uint8]:
        """Returns the frame of `mujoco.MjData` as a new uint8 array [size, size, 3].

        Raises:
          RuntimeError: the renderer is closed, or belongs to the process this one was forked from.
        """
        if not self._release.alive:
            raise RuntimeError("renderer: expected an open renderer, got a closed one")
        import mujoco

        with self.gl.current():
            everything = mujoco.mjtCatBit.mjCAT_ALL
            mujoco.mjv_updateScene(
                self._model, data, self._option, None, self._camera, everything, self._scene
            )
            mujoco.mjr_render(self._rectangle, self._scene, self._context)
            mujoco.mjr_readPixels(self._buffer, None, self._rectangle, self._context)
        frame: NDArray[np.uint8] = self._buffer[::-1].copy()  # OpenGL starts at the bottom row
        return frame

    def upload_terrain(self) -> None:
        """Takes over height fields that the task has changed in the model since the last frame."""
        import mujoco

        with self.gl.current():
            for number in range(self._model.nhfield):
                mujoco.mjr_uploadHField(self._model, self._context, number)

    def close(self) -> None:
        """Frees the OpenGL context; may be called again."""
        self._release()


def quality_of(name: str) -> Quality:
    """Returns the quality of this name; raises ValueError unless there is one."""
    check_choice("quality", name, QUALITIES)
    return QUALITIES[name]


_inherited: list[Any] = []  # a forked child may neither use nor free its parent's contexts


def _release(resources: list[Any], pid: int) -> None:
    if pid != os.getpid():
        _inherited.append(resources)
        return
    context, gl = resources
    with gl.current():
        context.free()
    gl.free()


@contextmanager
def _visual(model: Any, size: int, settings: Quality) -> Iterator[None]:
    """Sets what `MjrContext` reads of the model, and puts it back."""
    wanted = [
        (model.vis.global_, "offwidth", size),
        (model.vis.global_, "offheight", size),
        (model.vis.quality, "shadowsize", settings.shadow_size),
        (model.vis.quality, "offsamples", settings.samples),
        (model.vis.quality, "numslices", settings.slices),
        (model.vis.quality, "numstacks", settings.stacks),
        (model.vis.quality, "numquads", settings.quads),
    ]
    before = [(owner, name, getattr(owner, name)) for owner, name, _ in wanted]
    try:
        for owner, name, value in wanted:
            if value is not None:
                setattr(owner, name, value)
        yield
    finally:
        for owner, name, value in before:
            setattr(owner, name, value)


def _camera(model: Any, number: int) -> Any:
    import mujoco

    camera = mujoco.MjvCamera()
    if number < 0:
        mujoco.mjv_defaultFreeCamera(model, camera)
    else:
        camera.type, camera.fixedcamid = mujoco.mjtCamera.mjCAMERA_FIXED, number
    return camera
