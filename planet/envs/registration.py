"""Makes the tasks known to `gymnasium.make`, without importing MuJoCo.

Gymnasium 1.0 gave up plugins, so one import is needed; its ids can name it:
`gymnasium.make("planet.envs:planet/CheetahRun-v0")`.
"""

from __future__ import annotations

from planet.envs.tasks import TOY_TASK, action_repeat_of, gymnasium_id, task_names


def register_environments() -> None:
    """Registers `planet/CheetahRun-v0` and so on; ids that are registered already stay.

    Raises:
      ImportError: Gymnasium is missing.
    """
    import gymnasium

    for name in task_names():
        identifier = gymnasium_id(name)
        if identifier in gymnasium.registry:
            continue
        if name == TOY_TASK:
            gymnasium.register(identifier, "planet.envs.toy:ToyReachEnv")
        else:
            gymnasium.register(
                identifier,
                "planet.envs.dmc:DMControlEnv",
                kwargs={"task": name, "action_repeat": action_repeat_of(name)},
            )
