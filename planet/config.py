"""All settings, as frozen dataclasses: one field, one line with symbol, unit and source.

Sources: [P] Hafner et al., "Learning Latent Dynamics for Planning from Pixels", ICML 2019
(arXiv v5), Section 5, Appendix A and Algorithms 1 and 2; [G] the official code,
google-research/planet at c04226b; [O] ours. Defaults are the `paper` preset; `planet.presets` holds
the others.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

from planet.atomic import atomic_write, read_file
from planet.config_checks import (
    check_at_least,
    check_choice,
    check_finite,
    check_positive,
    check_range,
    check_sizes,
    check_text,
    take_numpy,
)
from planet.listing import listed
from planet.settings_file import parse_settings

T = TypeVar("T")

# Settings that came after 0.1.0: what runs did that were started without them.
_BEFORE: dict[str, dict[str, Any]] = {
    "planner": {"precision": "fp32", "budget_ms": None, "variant": None},
    "train": {"checkpoint_updates": 1000},
}


@dataclass(frozen=True)
class EnvironmentConfig:
    """The task that the agent acts in, and how its pixels are made."""

    task: str = "cheetah-run"  # DM Control "domain-task", or "toy-reach"
    action_repeat: int | None = None  # R, control steps per action; None: the task's [P App. A]
    image_size: int = 64  # pixels per side of an observation [P Sec. 5]
    render_size: int = 64  # pixels per side as rendered, averaged down to image_size [O]
    camera: int = 0  # camera of the physics model [G control/wrappers.py:315]
    quality: Literal["reference", "faithful", "fast"] = "faithful"  # render settings [O]
    control_steps: int | None = None  # until truncation; None: the task's, 1000 [G tasks.py]

    def __post_init__(self) -> None:
        take_numpy(self)
        check_text(self, "task")
        check_positive(self, "image_size", "render_size")
        for name in ("action_repeat", "control_steps"):
            if getattr(self, name) is not None:
                check_positive(self, name)
        check_at_least(self, 0, "camera")
        check_choice(self, "quality", ("reference", "faithful", "fast"))
        if self.render_size % self.image_size:
            raise ValueError(
                f"render_size: expected a multiple of image_size={self.image_size}, "
                f"got {self.render_size}"
            )


@dataclass(frozen=True)
class ModelConfig:
    """Sizes and conventions of the world model."""

    state_size: int = 30  # S, stochastic units [P App. A; G configs.py:121]
    belief_size: int = 200  # D, GRU units [P App. A; G configs.py:122]
    hidden_size: int = 200  # M, units of every transition layer [P App. A; G configs.py:123]
    activation: Literal["relu", "elu"] = "relu"  # of every hidden layer [P App. A]
    min_stddev: float = 0.1  # added to prior and posterior stddev [G models/rssm.py:96]
    gru_gate_bias: float = 1.0  # initial input bias of reset and update [G GRUBlockCell]
    initializer: Literal["glorot", "torch"] = "glorot"  # of weight matrices [G TensorFlow default]
    bit_depth: int = 5  # b, bits per colour channel [P App. A; G configs.py:83]
    encoder_channels: tuple[int, ...] = (32, 64, 128, 256)  # per layer [G networks/conv_ha.py]
    encoder_kernel: int = 4  # pixels [G networks/conv_ha.py]
    encoder_stride: int = 2  # pixels [G networks/conv_ha.py]
    decoder: Literal["conv", "mlp"] = "conv"  # transposed convolutions [G]; mlp is cheap [O]
    decoder_input: int = 1024  # conv: units of the linear layer before it [G networks/conv_ha.py]
    decoder_channels: tuple[int, ...] = (128, 64, 32)  # conv: hidden layers [G conv_ha.py]
    decoder_kernels: tuple[int, ...] = (5, 5, 6, 6)  # conv: pixels, one more than channels [G]
    decoder_stride: int = 2  # conv: pixels [G networks/conv_ha.py]
    decoder_hidden: tuple[int, ...] = (200,)  # mlp: units per hidden layer [O]
    reward_layers: int = 2  # hidden layers of the reward head [P App. A; G HEAD: 3]
    reward_hidden: int = 200  # units per layer of the reward head [P App. A; G HEAD: 300]

    def __post_init__(self) -> None:
        take_numpy(self)
        check_positive(
            self, "state_size", "belief_size", "hidden_size", "encoder_kernel", "encoder_stride",
            "decoder_input", "decoder_stride", "reward_hidden", "min_stddev",
        )  # fmt: skip
        check_range(self, "bit_depth", 1, 8)
        check_range(self, "reward_layers", 0, 3)
        check_finite(self, "gru_gate_bias")
        check_choice(self, "activation", ("relu", "elu"))
        check_choice(self, "initializer", ("glorot", "torch"))
        check_choice(self, "decoder", ("conv", "mlp"))
        check_sizes(
            self, "encoder_channels", "decoder_channels", "decoder_kernels", "decoder_hidden"
        )
        if len(self.decoder_kernels) != len(self.decoder_channels) + 1:
            raise ValueError(
                f"decoder_kernels: expected {len(self.decoder_channels) + 1} values, "
                f"got {len(self.decoder_kernels)}"
            )


@dataclass(frozen=True)
class PlannerConfig:
    """The cross-entropy method, Algorithm 2."""

    horizon: int = 12  # H, model steps [P Alg. 2; G configs.py:250]
    candidates: int = 1000  # J, action sequences per iteration [P; G configs.py:294]
    iterations: int = 10  # I [P; G configs.py:293]
    topk: int = 100  # K, elites [P; G configs.py:295]
    initial_stddev: float = 1.0  # of the first actions, in half widths of the box [P Alg. 2; G]
    spread: Literal["population", "mean_absolute"] = "population"  # of the refit [G planning.py]
    epsilon: float = 1e-6  # added to the refit's variance [G control/planning.py:60]
    low: float = -1.0  # smallest action [G planning.py:44]
    high: float = 1.0  # largest action [G planning.py:44]
    state_noise: bool = True  # sample the prior in rollouts [P Alg. 2]
    discount: float = 1.0  # per model step [P; G at its first commit: 0.99]
    backend: Literal["fused", "reference"] = "fused"  # who computes it [O]
    precision: Literal["fp32", "int8", "fp16", "bf16"] = "fp32"  # of the rollouts' products [O]
    budget_ms: float | None = None  # a plan ends with the last iteration that fits; None: all I [O]
    variant: Literal["portable", "persistent"] | None = None  # of CUDA kernels; None: portable [O]

    def __post_init__(self) -> None:
        take_numpy(self)
        check_positive(
            self, "horizon", "candidates", "iterations", "topk", "initial_stddev", "discount"
        )
        check_at_least(self, 0.0, "epsilon")
        check_finite(self, "low", "high")
        check_choice(self, "spread", ("population", "mean_absolute"))
        check_choice(self, "backend", ("fused", "reference"))
        check_choice(self, "precision", ("fp32", "int8", "fp16", "bf16"))
        if self.budget_ms is not None:
            check_positive(self, "budget_ms")
        if self.variant is not None:
            check_choice(self, "variant", ("portable", "persistent"))
            if self.backend != "fused":
                raise ValueError(
                    f"variant: expected None with backend={self.backend!r}, got {self.variant!r}"
                )
        if self.topk > self.candidates:
            raise ValueError(f"topk: expected K <= J={self.candidates}, got {self.topk}")
        if self.spread == "mean_absolute" and self.topk < 2:
            raise ValueError(f"topk: expected K >= 2 for spread='mean_absolute', got {self.topk}")
        if not isinstance(self.state_noise, bool):
            raise TypeError(f"state_noise: expected a bool, got {self.state_noise!r}")
        if not self.low <= self.high:
            raise ValueError(f"low: expected a value <= high={self.high}, got {self.low}")


@dataclass(frozen=True)
class TrainConfig:
    """Algorithm 1: data, loss, optimiser and schedule."""

    seed: int = 0  # of the whole run
    episodes: int = 1000  # collected in all, seed episodes included [P Sec. 5]
    seed_episodes: int = 5  # S, with random actions [P Alg. 1; G configs.py:231]
    initial_updates: int = 100  # gradient steps after the seed episodes [P Alg. 1: C]
    updates_per_episode: int = 100  # C, gradient steps per collected episode [P Alg. 1]
    batch_size: int = 50  # B, chunks [P App. A; G configs.py:81]
    chunk_length: int = 50  # L, time steps [P App. A; G configs.py:82]
    sampling: Literal["uniform", "recent"] = "uniform"  # of chunks [P Alg. 1]; recent: [G]
    recent_draws: int = 1000  # recent: chunks between two scans for new episodes [G configs.py:97]
    recent_share: float = 0.5  # recent: of these chunks, from new episodes [G numpy_episodes.py:87]
    learning_rate: float = 1e-3  # alpha, of Adam [P App. A; G configs.py:193]
    learning_rate_warmup: int = 0  # gradient steps of linear rise [G first commit: 10,000]
    adam_epsilon: float = 1e-4  # [P App. A; G configs.py:195], in PyTorch's form
    gradient_clip_norm: float = 1000.0  # global norm [P App. A; G configs.py:196]
    image_weight: float = 1.0  # of -log N(image; mean, 1), summed over pixels [G configs.py:186]
    reward_weight: float = 10.0  # of -log N(reward; mean, 1) [G configs.py:187]
    divergence_weight: float = 1.0  # of KL(posterior || prior) [P Eq. 3; G configs.py:185]
    free_nats: float = 3.0  # nats of KL per time step without penalty [P App. A; G configs.py:189]
    global_prior_weight: float = 0.0  # of KL(posterior || N(0, 1)) [G first commit: 0.1]
    overshooting_distance: int = 0  # D, steps of latent overshooting; 0 or 1: none [P Eq. 7]
    overshooting_weight: float = 0.0  # of the overshooting KL, mean over distances [P Eq. 7]
    overshooting_reward_weight: float = 0.0  # reward loss on overshot states [G first commit: 100]
    exploration_stddev: float = 0.3  # of noise while collecting, in half widths of the box [P]
    exploration_ramp: int = 0  # episodes until the noise reaches its minimum; 0: constant [G]
    exploration_min_stddev: float = 0.0  # where the ramp ends [G configs.py:256]
    evaluation_interval: int = 25  # collected episodes between two evaluations; 0: never [O]
    evaluation_episodes: int = 10  # without exploration noise, seeds of their own [P Sec. 5]
    checkpoint_interval: int = 1  # collected episodes between two checkpoints [O]
    checkpoint_updates: int = 1000  # gradient steps between two checkpoints [O]
    device: str = "cpu"  # of the model and its training
    threads: int = 0  # CPU threads of training and planning; 0: as torch has it [O]

    def __post_init__(self) -> None:
        take_numpy(self)
        check_positive(
            self, "episodes", "seed_episodes", "batch_size", "chunk_length", "recent_draws",
            "learning_rate", "adam_epsilon", "gradient_clip_norm", "evaluation_episodes",
            "checkpoint_interval", "checkpoint_updates",
        )  # fmt: skip
        check_at_least(
            self, 0, "initial_updates", "updates_per_episode", "learning_rate_warmup",
            "image_weight", "reward_weight", "divergence_weight", "free_nats",
            "global_prior_weight", "overshooting_distance", "overshooting_weight",
            "overshooting_reward_weight", "exploration_stddev", "exploration_ramp",
            "exploration_min_stddev", "evaluation_interval", "threads",
        )  # fmt: skip
        check_text(self, "device")
        check_range(self, "seed", 0, 2**63 - 1)
        check_range(self, "recent_share", 0, 1)
        check_choice(self, "sampling", ("uniform", "recent"))
        if self.episodes < self.seed_episodes:
            raise ValueError(
                f"episodes: expected at least seed_episodes={self.seed_episodes}, "
                f"got {self.episodes}"
            )
        if self.chunk_length < 2:
            raise ValueError(f"chunk_length: expected at least 2, got {self.chunk_length}")


@dataclass(frozen=True)
class Config:
    """A whole run."""

    environment: EnvironmentConfig = field(default_factory=EnvironmentConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    planner: PlannerConfig = field(default_factory=PlannerConfig)
    train: TrainConfig = field(default_factory=TrainConfig)

    def to_dict(self) -> dict[str, Any]:
        """Plain nested dict of JSON types."""
        plain: dict[str, Any] = _plain(dataclasses.asdict(self))
        return plain

    @staticmethod
    def from_dict(values: dict[str, Any]) -> Config:
        """Inverse of `to_dict`; settings of older releases mean what they meant then.

        Raises:
          ValueError: an unknown or missing key, or a value of another type or out of range; the
            message names it.
        """
        sections = {
            "environment": EnvironmentConfig,
            "model": ModelConfig,
            "planner": PlannerConfig,
            "train": TrainConfig,
        }
        _known(values, set(sections), "config")
        built: dict[str, Any] = {
            name: _build(kind, values[name], name) for name, kind in sections.items()
        }
        return Config(**built)

    @staticmethod
    def load(path: Path | str) -> Config:
        """Reads the settings that `save` wrote, as JSON in UTF-8.

        Raises:
          FileNotFoundError: there is no such file.
          ValueError: the file holds no settings; the message names the file and the setting, what
            was expected and what came.
        """
        content = read_file(path)
        try:
            return Config.from_dict(parse_settings(content))
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error

    def save(self, path: Path | str) -> None:
        """Writes or replaces a file of settings, atomically.

        Raises:
          OSError: the file cannot be written; an existing one stays as it was.
        """
        with atomic_write(path) as file:
            file.write((json.dumps(self.to_dict(), indent=2) + "\n").encode())


def _build(kind: type[T], values: dict[str, Any], where: str) -> T:
    names = {f.name for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    if isinstance(values, dict):
        values = {**_BEFORE.get(where, {}), **values}
    _known(values, names, where)
    try:
        return kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})
    except (TypeError, ValueError) as error:
        raise ValueError(f"{where}.{error}") from error


def _known(values: dict[str, Any], names: set[str], where: str) -> None:
    if not isinstance(values, dict):
        raise ValueError(f"{where}: expected a table of settings, got {type(values).__name__}")
    for kind, keys in (("unknown", set(values) - names), ("missing", names - set(values))):
        if keys:
            named = listed(map(repr, sorted(keys, key=str)))
            raise ValueError(f"{where}: {kind} setting [{named}]; expected {sorted(names)}")


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    return list(value) if isinstance(value, tuple) else value
