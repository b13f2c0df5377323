"""Reads and writes all that the next step of a simulation depends on."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def read_state(physics: Any) -> NDArray[np.float64]:
    """Returns all that the next step depends on, the start of MuJoCo's solver included."""
    import mujoco

    model, kind = physics.model.ptr, mujoco.mjtState.mjSTATE_INTEGRATION
    state = np.empty(mujoco.mj_stateSize(model, kind))
    mujoco.mj_getState(model, physics.data.ptr, state, kind)
    return state


def restore_state(physics: Any, state: NDArray[np.float64]) -> None:
    """Brings a copy of the physics to where the original stood.

    The suite's copy computes its forces anew, which moves the start of the solver; and of MuJoCo's
    pickled data not all can be used in another process. So only this state is believed. The suite
    leaves the first half of a step done, as is here.
    """
    import mujoco

    model, data = physics.model.ptr, physics.data.ptr
    mujoco.mj_resetData(model, data)
    mujoco.mj_setState(model, data, state, mujoco.mjtState.mjSTATE_INTEGRATION)
    mujoco.mj_step1(model, data)
