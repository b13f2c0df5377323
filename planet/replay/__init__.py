"""Episodes on disk, and sampling from them."""

from planet.replay.buffer import LostEpisodesError, ReplayBuffer, episode_index, episode_name
from planet.replay.episode import Episode
from planet.replay.episode_file import (
    CorruptEpisodeError,
    read_chunk,
    read_episode,
    read_info,
    verify_episode,
    write_episode,
)
from planet.replay.episode_info import EpisodeInfo

__all__ = [
    "CorruptEpisodeError", "Episode", "EpisodeInfo", "LostEpisodesError", "ReplayBuffer",
    "episode_index", "episode_name", "read_chunk", "read_episode", "read_info", "verify_episode",
    "write_episode",
]  # fmt: skip
