"""Activation layers by the name that the settings use."""

from __future__ import annotations

from torch import nn


def activation_module(name: str) -> nn.Module:
    """`nn.ReLU` or `nn.ELU`, the module form of `planet.ops.equations.activate`."""
    return nn.ReLU() if name == "relu" else nn.ELU()
