"""Pixel environments: the DM Control Suite and a toy task, each a `gymnasium.Env`."""

from planet.envs._gl import RenderingUnavailable
from planet.envs.make import make
from planet.envs.tasks import ACTION_REPEAT, task_names

__all__ = ["ACTION_REPEAT", "RenderingUnavailable", "make", "task_names"]
