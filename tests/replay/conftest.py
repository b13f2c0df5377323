from collections.abc import Callable

import numpy as np
import pytest

from planet.replay import Episode

MakeEpisode = Callable[..., Episode]


def _episode(
    steps: int = 9, image_size: tuple[int, int] = (4, 6), actions: int = 2, tag: int = 0
) -> Episode:
    """Makes an episode whose entries say which they are: reward t, action (tag, t), pixels t."""
    time = np.arange(steps + 1)
    observation = np.empty((steps + 1, *image_size, 3), np.uint8)
    observation[:] = (time % 256).astype(np.uint8)[:, None, None, None]
    observation[:, 0, 0, 0] = tag % 256
    action = np.full((steps + 1, actions), tag, np.float32)
    action[:, -1] = time
    action[0] = 0
    reward, ended = time.astype(np.float32), np.zeros(steps + 1, bool)
    return Episode({"image": observation}, action, reward, ended, {"tag": tag})


@pytest.fixture
def make_episode() -> MakeEpisode:
    return _episode
