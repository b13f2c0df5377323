"""Episodes on disk, and sampling from them."""

from planet.replay.buffer import LostEpisodesError, ReplayBuffer
from planet.replay.episode import Episode
from planet.replay.episode_file import (
    CorruptEpisodeError,
    read_chunk,
    read_episode,
    read_info,
    verify_episode,
    write_episode,
)
from planet.replay.episode_folder import episode_index, episode_name, episode_paths
from planet.replay.episode_info import EpisodeInfo
from planet.replay.npz import NpzError, read_npz, write_npz
from planet.replay.pieces import Pieces
from planet.replay.transfer import Imported, export_episodes, import_episodes

__all__ = [
    "CorruptEpisodeError", "Episode", "EpisodeInfo", "Imported", "LostEpisodesError", "NpzError",
    "Pieces", "ReplayBuffer", "episode_index", "episode_name", "episode_paths", "export_episodes",
    "import_episodes", "read_chunk", "read_episode", "read_info", "read_npz", "verify_episode",
    "write_episode", "write_npz",
]  # fmt: skip
