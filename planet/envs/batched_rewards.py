"""Computes the rewards of many simulations of a task at once, as the suite computes one.

Every formula is that of the task in `dm_control.suite`, and gives the same bits.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class BatchedReward(NamedTuple):
    """Says how a task's rewards follow from a `mujoco.batch.Batch`.

    Attributes:
      read: returns live arrays [n, ...] of the batch, from its n simulations.
      compute: returns rewards [...] of the model and such arrays [..., ...], recorded over time.
    """

    read: Callable[[Any], tuple[Array, ...]]
    compute: Callable[..., Array]


def _cartpole_parts(batch: Any) -> tuple[Array, ...]:
    slider = int(batch.model.joint("slider").qposadr[0])
    velocity, poles = batch.bind("qvel")[:, 1:], batch.bind("xmat")[:, 2:, 8]
    return batch.bind("qpos")[:, slider], velocity, batch.bind("ctrl"), poles


def _cartpole(model: Any, cart: Array, velocity: Array, control: Array, poles: Array) -> Array:
    from dm_control.utils.rewards import tolerance

    upright = (poles + 1) / 2
    centered = (1 + _fading(np.abs(cart), 2)) / 2
    small = tolerance(control, margin=1, value_at_margin=0, sigmoid="quadratic")[..., 0]
    slow = (1 + tolerance(velocity, margin=5).min(axis=-1)) / 2
    reward: Array = upright.mean(axis=-1) * ((4 + small) / 5) * slow * centered
    return reward


def _reacher_parts(batch: Any) -> tuple[Array, ...]:
    position = batch.bind("geom_xpos")
    target, finger = (batch.model.geom(name).id for name in ("target", "finger"))
    return position[:, target, :2], position[:, finger, :2]


def _reacher(model: Any, target: Array, finger: Array) -> Array:
    radii = model.geom_size[[model.geom(name).id for name in ("target", "finger")], 0].sum()
    offset = target - finger
    distance = np.linalg.norm(offset, axis=-1)
    # The norm of a single vector is rounded otherwise, and the reward is a threshold of it.
    near = np.abs(distance - radii) < 1e-9
    distance[near] = [np.linalg.norm(vector) for vector in offset[near]]
    return np.where(distance <= radii, 1.0, 0.0)


def _finger_parts(batch: Any) -> tuple[Array, ...]:
    return (_sensor(batch, "hinge_velocity"),)


def _finger_spin(model: Any, velocity: Array) -> Array:
    return np.where(velocity <= -15.0, 1.0, 0.0)


def _cheetah_parts(batch: Any) -> tuple[Array, ...]:
    return (_sensor(batch, "torso_subtreelinvel"),)


def _cheetah_run(model: Any, speed: Array) -> Array:
    return _at_least(speed, 10, margin=10, value_at_margin=0)


def _ball_in_cup_parts(batch: Any) -> tuple[Array, ...]:
    target, ball = batch.model.site("target").id, batch.model.body("ball").id
    return batch.bind("site_xpos")[:, target, ::2], batch.bind("xpos")[:, ball, ::2]


def _ball_in_cup(model: Any, target: Array, ball: Array) -> Array:
    size = model.site_size[model.site("target").id, ::2] - model.geom_size[model.geom("ball").id, 0]
    return np.where((np.abs(target - ball) < size).all(axis=-1), 1.0, 0.0)


def _walker_parts(batch: Any) -> tuple[Array, ...]:
    torso = batch.model.body("torso").id
    upright, height = batch.bind("xmat")[:, torso, 8], batch.bind("xpos")[:, torso, 2]
    return upright, height, _sensor(batch, "torso_subtreelinvel")


def _walker(least: float, model: Any, upright: Array, height: Array, speed: Array) -> Array:
    standing = _fading(np.maximum(1.2 - height, 0.0), 1.2 / 2)
    stand = (3 * standing + (1 + upright) / 2) / 4
    moving = _at_least(speed, least, margin=least / 2, value_at_margin=0.5)
    reward: Array = stand * (5 * moving + 1) / 6
    return reward


REWARDS: dict[str, BatchedReward] = {
    "ball_in_cup-catch": BatchedReward(_ball_in_cup_parts, _ball_in_cup),
    "cartpole-balance": BatchedReward(_cartpole_parts, _cartpole),
    "cartpole-swingup": BatchedReward(_cartpole_parts, _cartpole),
    "cheetah-run": BatchedReward(_cheetah_parts, _cheetah_run),
    "finger-spin": BatchedReward(_finger_parts, _finger_spin),
    "reacher-easy": BatchedReward(_reacher_parts, _reacher),
    "reacher-hard": BatchedReward(_reacher_parts, _reacher),
    "walker-run": BatchedReward(_walker_parts, partial(_walker, 8)),
    "walker-walk": BatchedReward(_walker_parts, partial(_walker, 1)),
}
"""By task; the suite's other tasks have none."""


def _sensor(batch: Any, name: str) -> Array:
    """Returns the first number of a sensor, [n]."""
    values: Array = batch.bind("sensordata")[:, int(batch.model.sensor(name).adr[0])]
    return values


def _at_least(value: Array, least: float, margin: float, value_at_margin: float) -> Array:
    """Rewards what is at least so much, and linearly what misses it by less than a margin."""
    from dm_control.utils.rewards import tolerance

    bounds, how = (least, float("inf")), {"sigmoid": "linear", "value_at_margin": value_at_margin}
    reward: Array = tolerance(value, bounds, margin, **how)
    return reward


def _fading(distance: Array, margin: float) -> Array:
    """Rewards a distance with the suite's `tolerance`: 1 at 0, 0.1 at the margin, a Gaussian.

    NumPy squares a number with the C library's `pow`, but an array by a product, which differs in
    the last bit once in a thousand. The suite has a number here.
    """
    scaled = distance / margin * np.sqrt(-2 * np.log(0.1))
    squares = np.array([value**2.0 for value in scaled.ravel().tolist()])
    reward: Array = np.exp(-0.5 * squares.reshape(scaled.shape))
    return reward
