"""Derives every seed of a run from its own; see `planet.noise.mix_seed`."""

from __future__ import annotations

from typing import Final

from planet.noise import mix_seed

# Words that keep the seeds of one run apart.
INITIAL: Final = 0  # of the world model's first parameters
RANDOM: Final = 1  # of random actions
AGENT: Final = 2  # of the agent while collecting
COLLECT: Final = 3  # of the environment while collecting
EVALUATE: Final = 4  # of environment and agent in evaluations
BATCH: Final = 5  # of the chunks of a gradient step
LOSS: Final = 6  # of what a gradient step draws
VALIDATION: Final = 7  # of which recorded episodes are held out, and of what is drawn for them


def environment_seed(seed: int, episode: int, evaluation: bool) -> int:
    """Derives the seed of an environment's reset, in [0, 2**31), from the run's own.

    It is even while collecting and odd in evaluations, so no evaluation ever starts from a state
    that training has seen by its seed.
    """
    word = EVALUATE if evaluation else COLLECT
    mixed = mix_seed(mix_seed(seed, word), episode) & 0x7FFFFFFE
    return mixed | int(evaluation)


def policy_seed(seed: int, episode: int, planned: bool) -> int:
    """Derives the seed of a policy that collects an episode; random actions have their own."""
    return mix_seed(mix_seed(seed, AGENT if planned else RANDOM), episode)


def evaluation_seeds(seed: int, index: int) -> tuple[int, int]:
    """Derives the seeds of an evaluation's episode: of the environment's reset, of the policy."""
    policy = mix_seed(mix_seed(seed, EVALUATE), index)
    return environment_seed(seed, index, evaluation=True), policy


def loss_seed(seed: int, update: int) -> int:
    """Derives the seed of what a gradient step draws."""
    return mix_seed(mix_seed(seed, LOSS), update)
