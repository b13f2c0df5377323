"""Makes the tasks known to `gymnasium.make`, without importing MuJoCo.

Gymnasium 1.0 gave up plugins, so one import is needed; its ids can name it:
`gymnasium.make("planet.envs:planet/CheetahRun-v0")`.
"""

from __future__ import annotations

from typing import Any

from planet.envs.extra import import_extra
from planet.envs.tasks import TOY_TASK, action_repeat_of, gymnasium_id, is_suite, task_names


def register_environments() -> None:
    """Registers `planet/CheetahRun-v0` and so on; ids that are registered already stay.

    Raises:
      ImportError: Gymnasium is missing.
    """
    import gymnasium

    for name in task_names():
        toy = name == TOY_TASK
        settings = {} if toy else {"task": name, "action_repeat": action_repeat_of(name)}
        if gymnasium_id(name) not in gymnasium.registry:
            gymnasium.registry[gymnasium_id(name)] = specification(name, **settings)


def specification(name: str, /, **settings: Any) -> Any:
    """Returns the `gymnasium.envs.registration.EnvSpec` that makes a task with these settings."""
    module = "planet.envs.toy:ToyReachEnv" if name == TOY_TASK else "planet.envs.gym:GymEnv"
    module = "planet.envs.dmc:DMControlEnv" if is_suite(name) else module
    registration = import_extra("gymnasium.envs.registration")
    return registration.EnvSpec(gymnasium_id(name), module, kwargs=settings)
