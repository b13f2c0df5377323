"""Pixel environments: the DM Control Suite and a toy task, each a `gymnasium.Env`.

Importing this package tells Gymnasium the ids, so `gymnasium.make("planet/CheetahRun-v0")` works
after it, and `gymnasium.make("planet.envs:planet/CheetahRun-v0")` without it.
"""

import importlib.util

from planet.envs._gl import RenderingUnavailable
from planet.envs.make import make
from planet.envs.registration import register_environments
from planet.envs.tasks import ACTION_REPEAT, task_names

if importlib.util.find_spec("gymnasium") is not None:  # names can be listed without the extra
    register_environments()

__all__ = [
    "ACTION_REPEAT",
    "RenderingUnavailable",
    "make",
    "register_environments",
    "task_names",
]
