"""Measures what `planet doctor` reports about rendering."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from planet.envs.dmc import DMControlEnv
from planet.envs.rendering import Renderer


def renderer_info(task: str = "cheetah-run") -> dict[str, str]:
    """Returns `backend` ("egl" or "osmesa") and `renderer`, the driver's GL_RENDERER string.

    Raises:
      RenderingUnavailable: nothing can draw; the message says what helps.
    """
    renderer = _renderer(task, 64, "fast")[0]
    try:
        return {"backend": renderer.backend, "renderer": renderer.name()}
    finally:
        renderer.close()


def measure_frame_ms(
    task: str = "cheetah-run", quality: str = "faithful", frames: int = 50, size: int = 64
) -> dict[str, float]:
    """Times frames of a task's first state, after a few that are not counted.

    Args:
      task: a control task.
      quality: "reference", "faithful" or "fast".
      frames: how many are timed.
      size: side of a frame in pixels.

    Returns:
      milliseconds per frame: `median` and `p95` of wall time, `cpu` as mean process time, which
      counts the driver's threads too.

    Raises:
      RenderingUnavailable: nothing can draw; the message says what helps.
    """
    renderer, data = _renderer(task, size, quality)
    try:
        for _ in range(3):
            renderer.render(data)
        walls, cpu = [], time.process_time()
        for _ in range(frames):
            start = time.perf_counter()
            renderer.render(data)
            walls.append(1e3 * (time.perf_counter() - start))
        cpu = 1e3 * (time.process_time() - cpu) / frames
        median, p95 = np.percentile(walls, [50, 95])
        return {"median": float(median), "p95": float(p95), "cpu": cpu}
    finally:
        renderer.close()


def _renderer(task: str, size: int, quality: str) -> tuple[Renderer, Any]:
    physics = DMControlEnv(task, action_repeat=1, image_size=size, quality=quality).physics
    return Renderer(physics.model.ptr, size, quality), physics.data.ptr
