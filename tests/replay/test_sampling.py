import numpy as np

from planet.replay.sampling import draw_recent, draw_uniform


def frequencies(pairs: tuple[np.ndarray, np.ndarray], starts: np.ndarray) -> np.ndarray:
    """Counts the share of each (episode, start) among the draws, [E, largest number of starts]."""
    episodes, offsets = pairs
    assert (offsets >= 0).all() and (offsets < starts[episodes]).all()
    table = np.zeros((len(starts), starts.max()))
    np.add.at(table, (episodes, offsets), 1)
    return table / len(episodes)


def assert_within_noise(share: np.ndarray, expected: np.ndarray, count: int) -> None:
    """Checks that every share is within five standard errors of its probability."""
    assert (np.abs(share - expected) <= 5 * np.sqrt(expected / count)).all()


def test_uniform_gives_every_start_the_same_chance() -> None:
    starts = np.array([4, 0, 1, 15, 0])
    share = frequencies(draw_uniform(starts, 100_000, np.random.default_rng(0)), starts)
    expected = (np.arange(15) < starts[:, None]) / 20
    assert_within_noise(share, expected, 100_000)


def test_recent_takes_half_from_the_new_episodes() -> None:
    starts = np.array([4, 0, 1, 15, 2, 0])
    recent = np.array([False, False, False, True, True, True])
    share = frequencies(draw_recent(starts, recent, 0.5, 100_000, np.random.default_rng(0)), starts)
    # Two sides, two episodes with starts on each, then the starts.
    expected = (np.arange(15) < starts[:, None]) / np.maximum(starts, 1)[:, None] / 4
    assert_within_noise(share, expected, 100_000)


def test_recent_uses_the_other_side_when_one_is_empty() -> None:
    starts = np.array([3, 0, 3])
    for recent in ([False] * 3, [True] * 3, [False, True, False]):
        pairs = draw_recent(starts, np.array(recent), 0.5, 10_000, np.random.default_rng(1))
        share = frequencies(pairs, starts)
        assert_within_noise(share.sum(axis=1), np.array([0.5, 0, 0.5]), 10_000)


def test_draws_repeat_with_the_generator() -> None:
    starts = np.array([7, 2, 9])
    recent = np.array([True, False, False])
    for draw in (
        lambda generator: draw_uniform(starts, 50, generator),
        lambda generator: draw_recent(starts, recent, 0.5, 50, generator),
    ):
        first, second = draw(np.random.default_rng(3)), draw(np.random.default_rng(3))
        np.testing.assert_array_equal(first, second)
