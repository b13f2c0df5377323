"""Settings of the world model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from planet.config.checks import check_positive, check_range, check_types


@dataclass(frozen=True)
class ModelConfig:
    """Sets sizes and conventions of the world model."""

    transition: Literal["rssm", "ssm"] = "rssm"  # with a deterministic path, or without [P Sec. 3]
    stochastic: bool = True  # states are sampled; False: they are means, as in the RNN [P Sec. 3]
    posterior: Literal["filter", "encoder"] = "filter"  # q(s | h, o), or s = g(o) without past [O]
    state_size: int = 30  # S, stochastic units [P App. A; G configs.py:121]
    belief_size: int = 200  # rssm: D, GRU units [P App. A; G configs.py:122]
    hidden_size: int = 200  # M, units of every transition layer [P App. A; G configs.py:123]
    activation: Literal["relu", "elu"] = "relu"  # of every hidden layer [P App. A]
    min_stddev: float = 0.1  # stochastic: added to every stddev [G models/rssm.py:96]
    gru_gate_bias: float = 1.0  # rssm: initial input bias of both gates [G GRUBlockCell]
    initializer: Literal["glorot", "torch"] = "glorot"  # of weight matrices [G TensorFlow default]
    bit_depth: int = 5  # b, bits per colour channel [P App. A; G configs.py:83]
    encoder_channels: tuple[int, ...] = (32, 64, 128, 256)  # of each layer [G networks/conv_ha.py]
    encoder_kernel: int = 4  # pixels [G networks/conv_ha.py]
    encoder_stride: int = 2  # pixels [G networks/conv_ha.py]
    decoder: Literal["conv", "mlp"] = "conv"  # transposed convolutions [G]; mlp is cheap [O]
    decoder_input: int = 1024  # conv: units of the linear layer before it [G networks/conv_ha.py]
    decoder_channels: tuple[int, ...] = (128, 64, 32)  # conv: hidden layers [G conv_ha.py]
    decoder_kernels: tuple[int, ...] = (5, 5, 6, 6)  # conv: pixels, one more than channels [G]
    decoder_stride: int = 2  # conv: pixels [G networks/conv_ha.py]
    decoder_hidden: tuple[int, ...] = (200,)  # mlp: units per hidden layer [O]
    vector_hidden: tuple[int, ...] = (200,)  # units per layer of vectors' encoder and decoder [O]
    reward_layers: int = 2  # hidden layers of the reward head [P App. A; G HEAD: 3]
    reward_hidden: int = 200  # units per layer of the reward head [P App. A; G HEAD: 300]
    continuation: bool = False  # the reward head says whether an episode goes on, too [O]

    def __post_init__(self) -> None:
        check_types(self)
        check_positive(
            self, "state_size", "belief_size", "hidden_size", "encoder_kernel", "encoder_stride",
            "decoder_input", "decoder_stride", "reward_hidden", "min_stddev",
        )  # fmt: skip
        check_range(self, 1, 8, "bit_depth")
        check_range(self, 0, 3, "reward_layers")
        if len(self.decoder_kernels) != len(self.decoder_channels) + 1:
            raise ValueError(
                f"decoder_kernels: expected {len(self.decoder_channels) + 1} values, "
                f"got {len(self.decoder_kernels)}"
            )

    @property
    def belief(self) -> int:
        """D, the belief's size in the model; 0 without a deterministic path."""
        return self.belief_size if self.transition == "rssm" else 0

    @property
    def sampled(self) -> bool:
        """Whether posteriors are distributions; else what is observed leads to one state."""
        return self.stochastic and self.posterior == "filter"

    @property
    def features(self) -> int:
        """D+S, what heads and decoders read."""
        return self.belief + self.state_size
