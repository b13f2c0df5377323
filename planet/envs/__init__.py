"""Makes tasks of the DM Control Suite, a toy task and Gymnasium's, each a `gymnasium.Env`.

Importing this package tells Gymnasium the ids, so `gymnasium.make("planet/CheetahRun-v0")` works
after it, and `gymnasium.make("planet.envs:planet/CheetahRun-v0")` without it.
"""

import importlib.util
import warnings

from planet.envs._library import RenderingUnavailable
from planet.envs.make import make
from planet.envs.registration import register_environments
from planet.envs.tasks import ACTION_REPEAT, task_names

if importlib.util.find_spec("gymnasium") is not None:  # names can be listed without the extra
    try:
        register_environments()
    except Exception as error:  # a broken Gymnasium must not take the command line along
        warnings.warn(
            f"no ids are registered, Gymnasium is broken ({type(error).__name__}: {error})",
            stacklevel=2,
        )

__all__ = [
    "ACTION_REPEAT",
    "RenderingUnavailable",
    "make",
    "register_environments",
    "task_names",
]
