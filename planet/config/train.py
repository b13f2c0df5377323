"""Settings of training."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from planet.config.checks import check_positive, check_range, check_types


@dataclass(frozen=True)
class ComputeConfig:
    """Says where a run computes, and on how many threads; part of the section `train`."""

    device: str = "cpu"  # cpu, cuda or cuda:1, of model, training and planner
    threads: int = 0  # CPU threads of training and planning; 0: as torch has it [O]

    def __post_init__(self) -> None:
        check_types(self)
        check_range(self, 0, None, "threads")


@dataclass(frozen=True)
class TrainConfig(ComputeConfig):
    """Sets up Algorithm 1: data, loss, optimiser and schedule.

    The intervals suit a GPU, where an episode with its updates takes 1.5 to 7 s. An evaluation
    plays 5 episodes for 50 that are collected, a tenth of the planning. A checkpoint of the paper's
    model is 62 MB and takes 0.15 to 0.5 s: after every episode that is up to a third of the time,
    after ten at most 3 %, and a kill costs at most 70 s.

    A backend of None is decided where a learner is made, by `on`. A run's settings keep it, so a
    run that goes on elsewhere decides anew.
    """

    seed: int = 0  # of the whole run
    backend: Literal["fused", "reference"] | None = None  # of updates; None: fused on CPUs [O]
    precision: Literal["fp32", "bf16"] = "fp32"  # of the decoder's products in updates [O]
    deterministic: bool = True  # CUDA: runs repeat bit for bit; False: cuDNN's fastest [O]
    episodes: int = 1000  # collected in all, seed episodes included [P Sec. 5]
    seed_episodes: int = 5  # S, with random actions [P Alg. 1; G configs.py:231]
    collect: Literal["online", "random"] = "online"  # after these: by plans, or as these [P Alg. 1]
    initial_updates: int = 100  # gradient steps after the seed episodes [P Alg. 1: C]
    updates_per_episode: int = 100  # C, gradient steps per collected episode [P Alg. 1]
    batch_size: int = 50  # B, chunks [P App. A; G configs.py:81]
    chunk_length: int = 50  # L, time steps [P App. A; G configs.py:82]
    sampling: Literal["uniform", "recent"] = "uniform"  # of chunks [P Alg. 1]; recent: [G]
    recent_draws: int = 1000  # recent: chunks between two scans for new episodes [G configs.py:97]
    recent_share: float = 0.5  # recent: of these chunks, from new episodes [G numpy_episodes.py:87]
    learning_rate: float = 1e-3  # alpha, of Adam [P App. A; G configs.py:193]
    learning_rate_warmup: int = 0  # gradient steps of linear rise [G first commit: 10,000]
    adam_epsilon: float = 1e-4  # of Adam, in PyTorch's form [P App. A; G configs.py:195]
    gradient_clip_norm: float = 1000.0  # global norm [P App. A; G configs.py:196]
    image_weight: float = 1.0  # of -log N(image; mean, 1), summed over pixels [G configs.py:186]
    vector_weight: float = 1.0  # of -log N(vector; mean, 1), summed over its numbers [O]
    reward_weight: float = 10.0  # of -log N(reward; mean, 1) [G configs.py:187]
    continuation_weight: float = 1.0  # of the cross entropy of whether the episode goes on [O]
    divergence_weight: float = 1.0  # of KL(posterior || prior) [P Eq. 3; G configs.py:185]
    free_nats: float = 3.0  # sampled posteriors: KL per step without penalty [P App. A; G :189]
    global_prior_weight: float = 0.0  # of KL(posterior || N(0, 1)) [G first commit: 0.1]
    overshooting_distance: int = 0  # D, steps of overshooting, below chunk_length [P Eq. 7]
    overshooting_weight: float = 0.0  # of the overshooting KL, mean over distances [P Eq. 7]
    overshooting_reward_weight: float = 0.0  # reward loss on overshot states [G first commit: 100]
    overshooting_observation_weight: float = 0.0  # error of decoded ones, d = 1..D [P Fig. 3b]
    exploration_stddev: float = 0.3  # of noise while collecting, in half widths of the box [P]
    exploration_ramp: int = 0  # episodes until the noise reaches its minimum; 0: constant [G]
    exploration_min_stddev: float = 0.0  # where the ramp ends [G configs.py:256]
    evaluation_interval: int = 50  # collected episodes between two evaluations; 0: never [O]
    evaluation_episodes: int = 5  # without exploration noise, own seeds [O; P Sec. 5: 10]
    checkpoint_interval: int = 10  # collected episodes between two checkpoints, lost by a kill [O]
    checkpoint_updates: int = 1000  # gradient steps between two checkpoints, likewise [O]

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(
            self, "episodes", "seed_episodes", "batch_size", "chunk_length", "recent_draws",
            "learning_rate", "adam_epsilon", "gradient_clip_norm", "evaluation_episodes",
            "checkpoint_interval", "checkpoint_updates",
        )  # fmt: skip
        check_range(
            self, 0, None, "initial_updates", "updates_per_episode", "learning_rate_warmup",
            "image_weight", "vector_weight", "reward_weight", "continuation_weight",
            "divergence_weight", "free_nats",
            "global_prior_weight", "overshooting_distance", "overshooting_weight",
            "overshooting_reward_weight", "overshooting_observation_weight", "exploration_stddev",
            "exploration_ramp", "exploration_min_stddev", "evaluation_interval",
        )  # fmt: skip
        check_range(self, 0, 2**63 - 1, "seed")
        check_range(self, 0, 1, "recent_share")
        if self.episodes < self.seed_episodes:
            raise ValueError(
                f"episodes: expected a value >= seed_episodes={self.seed_episodes}, "
                f"got {self.episodes}"
            )
        check_range(self, 2, None, "chunk_length")
        self._check_overshooting()

    def on(self, device: str) -> TrainConfig:
        """Names the backend by the kind of device: fused on "cpu", the reference elsewhere.

        Raises:
          ValueError: updates have no such kernels there, or none of the precision.
        """
        backend = self.backend or ("fused" if device == "cpu" else "reference")
        if backend == "fused" and device != "cpu":
            raise ValueError(
                f"train.backend: 'fused' has no kernels for updates on {device}; "
                "expected 'reference'"
            )
        if backend != "fused" and self.precision != "fp32":
            raise ValueError(
                f"train.precision: expected 'fp32' with backend={backend!r} on {device}, "
                f"got {self.precision!r}"
            )
        return replace(self, backend=backend)

    def _check_overshooting(self) -> None:
        """Refuses weights of terms that no distance inside a chunk has."""
        longest = min(self.overshooting_distance, self.chunk_length - 1)
        # The bound has distance 1 of latents, and rewards count where they do.
        for name, least in (
            ("overshooting_weight", 2), ("overshooting_reward_weight", 2),
            ("overshooting_observation_weight", 1),
        ):  # fmt: skip
            weight = getattr(self, name)
            if weight and longest < least:
                raise ValueError(
                    f"{name}: expected 0 without a distance of {least} in a chunk (with "
                    f"overshooting_distance={self.overshooting_distance} and "
                    f"chunk_length={self.chunk_length}), got {weight}"
                )
