"""Measures what `planet doctor` reports about rendering."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from planet.envs.dmc import DMControlEnv
from planet.envs.rendering import Renderer


def renderer_info() -> dict[str, str]:
    """Returns `backend` ("egl" or "osmesa") and `renderer`, the driver's GL_RENDERER string.

    Raises:
      RenderingUnavailable: nothing can draw; the message says what helps.
    """
    renderer, _ = _renderer("fast")
    try:
        return {"backend": renderer.gl.backend, "renderer": renderer.gl.renderer_name()}
    finally:
        renderer.close()


def measure_frame_ms(quality: str, frames: int) -> dict[str, float]:
    """Times 64x64 frames of cheetah-run's first state, after a few that are not counted.

    Args:
      quality: "reference", "faithful" or "fast".
      frames: how many are timed.

    Returns:
      milliseconds per frame: `median` and `p95` of wall time, `cpu` as mean process time, which
      counts the driver's threads too.

    Raises:
      RenderingUnavailable: nothing can draw; the message says what helps.
    """
    renderer, data = _renderer(quality)
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


def _renderer(quality: str) -> tuple[Renderer, Any]:
    physics = DMControlEnv("cheetah-run", action_repeat=1, quality=quality).physics
    return Renderer(physics.model.ptr, 64, quality), physics.data.ptr
