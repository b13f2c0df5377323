"""Names the tasks and their action repeat. Imports nothing heavy: names are listed cheaply."""

from __future__ import annotations

import difflib
import re

from planet.errors.listing import short

TOY_TASK = "toy-reach"
GYM_PREFIX = "gym:"
"""Stands before an id of Gymnasium's."""

ACTION_REPEAT: dict[str, int] = {
    "cartpole": 8, "reacher": 4, "cheetah": 4, "finger": 2, "ball_in_cup": 4, "walker": 2,
}  # fmt: skip
"""Control steps per agent step, by domain. Hafner et al., ICML 2019 (arXiv v5), Appendix A."""

CONTROL_TASKS: dict[str, tuple[str, ...]] = {
    "acrobot": ("swingup", "swingup_sparse"),
    "ball_in_cup": ("catch",),
    "cartpole": (
        "balance",
        "balance_sparse",
        "swingup",
        "swingup_sparse",
        "two_poles",
        "three_poles",
    ),  # fmt: skip
    "cheetah": ("run",),
    "dog": ("stand", "walk", "trot", "run", "fetch"),
    "finger": ("spin", "turn_easy", "turn_hard"),
    "fish": ("upright", "swim"),
    "hopper": ("stand", "hop"),
    "humanoid": ("stand", "walk", "run", "run_pure_state"),
    "humanoid_CMU": ("stand", "walk", "run"),
    "manipulator": ("bring_ball", "bring_peg", "insert_ball", "insert_peg"),
    "pendulum": ("swingup",),
    "point_mass": ("easy", "hard"),
    "quadruped": ("walk", "run", "escape", "fetch"),
    "reacher": ("easy", "hard"),
    "stacker": ("stack_2", "stack_4"),
    "swimmer": ("swimmer6", "swimmer15"),
    "walker": ("stand", "walk", "run"),
}
"""The DM Control Suite without lqr: domain to tasks."""

REFUSED_TASKS: dict[str, str] = dict.fromkeys(
    ("lqr-lqr_2_1", "lqr-lqr_6_2"),
    "lqr has unbounded actions and no time limit, so [-1, 1] cannot be scaled to it",
)
"""Suite tasks that are refused, with the reason."""


def task_names() -> tuple[str, ...]:
    """Returns the suite's names that `planet.envs.make` takes, "domain-task", then the toy's."""
    names = [f"{domain}-{task}" for domain, tasks in CONTROL_TASKS.items() for task in tasks]
    return (*names, TOY_TASK)


def split_task(name: str) -> tuple[str, str]:
    """Splits a control task's name into domain and task.

    Args:
      name: "domain-task", for example "ball_in_cup-catch".

    Raises:
      TypeError: the name is not a string.
      ValueError: the task is refused or unknown; the message gives the reason or near names.
    """
    if not isinstance(name, str):
        raise TypeError(f"task: expected a string, got {type(name).__name__}")
    if name in REFUSED_TASKS:
        raise ValueError(f"task: {name!r} is not supported: {REFUSED_TASKS[name]}")
    domain, _, task = name.partition("-")
    if task not in CONTROL_TASKS.get(domain, ()):
        raise ValueError(f"task: expected {_expected(name)}, got {short(repr(name))}")
    return domain, task


def is_suite(name: object) -> bool:
    """Tells a name that has to be of the DM Control Suite from the toy's and Gymnasium's."""
    return name != TOY_TASK and not (isinstance(name, str) and name.startswith(GYM_PREFIX))


def action_repeat_of(name: str) -> int:
    """Returns the action repeat of a task: the paper's, 2 for the suite's others, 1 elsewhere."""
    return ACTION_REPEAT.get(split_task(name)[0], 2) if is_suite(name) else 1


def gymnasium_id(name: str) -> str:
    """Returns the Gymnasium id of a task: "ball_in_cup-catch" is "planet/BallInCupCatch-v0".

    One of Gymnasium's with the settings of this package is "planet/gym-Pendulum-v1".
    """
    if name.startswith(GYM_PREFIX):
        return "planet/" + re.sub(r"[^\w.-]+", "-", name)
    words = name.replace("-", "_").split("_")
    return "planet/" + "".join(word[:1].upper() + word[1:] for word in words) + "-v0"


def _expected(name: str) -> str:
    names = task_names()
    near = difflib.get_close_matches(name.replace("_", "-").lower(), names, n=4, cutoff=0.5)
    domain = name.partition("-")[0]
    near = [n for n in names if n.partition("-")[0] == domain] or near
    if near:
        return "one of " + ", ".join(near)
    return "domain-task of the DM Control Suite, such as 'cheetah-run', 'toy-reach' or 'gym:ID'"
