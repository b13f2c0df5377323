"""Counts steps of the simulator, by which runs of different action repeats can be compared.

An agent step holds its action for R control steps, so an episode of N agent steps has N R of them,
or fewer where it ended inside the last repeat. Environments that count what they simulated say so
in the info of a step (`control_steps`, of the episode so far) and are believed. Episodes of random
actions count; evaluations do not.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from planet.config import EnvironmentConfig
from planet.errors.scalars import check_int


def action_repeat(config: EnvironmentConfig, environment: Any) -> int:
    """Returns R: the environment's attribute, also inside wrappers, else the setting's, else 1.

    Raises:
      TypeError, ValueError: the attribute is not an int, or less than 1.
    """
    get = getattr(environment, "get_wrapper_attr", None)
    try:
        own = environment.action_repeat if get is None else get("action_repeat")
    except AttributeError:
        own = None
    if own is None:
        return config.action_repeat or 1
    return check_int("action_repeat of the environment", own, 1)


def simulated_steps(info: Mapping[str, Any], steps: int, repeat: int) -> int:
    """Returns the control steps of an episode of N `steps` that repeat R times.

    The last step's `info["control_steps"]` is taken where it is a possible number.
    """
    counted = info.get("control_steps")
    try:
        exact = int(counted) if counted == int(counted) else -1  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        exact = -1
    return exact if 0 <= exact <= steps * repeat else steps * repeat
