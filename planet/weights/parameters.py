"""Names what a transition model must have, in training or as a frozen snapshot."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from planet.config import ModelConfig, choices

# In the order of weight files.
TRANSITIONS = ("rssm", "ssm")
ACTIVATIONS = choices(ModelConfig, "activation")
STDDEVS = ("add", "clamp")


class TransitionParameters(Protocol):
    """The tensors around the deterministic path: `RolloutWeights`, or a model while training."""

    @property
    def input_weight(self) -> Tensor:
        """[M, S+A], state columns first."""

    @property
    def input_bias(self) -> Tensor:
        """[M]."""

    @property
    def prior_hidden_weight(self) -> Tensor:
        """[M, D], or [M, M] without a deterministic path."""

    @property
    def prior_hidden_bias(self) -> Tensor:
        """[M]."""

    @property
    def prior_weight(self) -> Tensor:
        """[2S, M], rows of the mean first, then of the raw stddev."""

    @property
    def prior_bias(self) -> Tensor:
        """[2S]."""

    @property
    def activation(self) -> str:
        """Names that of the hidden layers: "relu" or "elu"."""

    @property
    def stddev(self) -> str:
        """Says how the smallest stddev enters: "add" or "clamp"."""

    @property
    def min_stddev(self) -> float:
        """Smallest stddev; what "add" adds."""


class RecurrentParameters(TransitionParameters, Protocol):
    """The tensors of the RSSM prior: `RolloutWeights` of one, or such a `LatentModel`."""

    @property
    def gru_weight_ih(self) -> Tensor:
        """[3D, M], gate order reset, update, new."""

    @property
    def gru_weight_hh(self) -> Tensor:
        """[3D, D]."""

    @property
    def gru_bias_ih(self) -> Tensor:
        """[3D]."""

    @property
    def gru_bias_hh(self) -> Tensor:
        """[3D]."""
