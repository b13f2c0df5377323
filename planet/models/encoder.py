"""The convolutional encoder."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from planet.config import ModelConfig
from planet.models.activation import activation_module


class Encoder(nn.Module):
    """Strided convolutions without padding, flattened.

    Ha and Schmidhuber (2018), as used by PlaNet (official code, networks/conv_ha.py): channels
    32, 64, 128, 256 with 4x4 kernels and stride 2 turn 64x64x3 into 2x2x256 = 1024 numbers.

    Args:
      config: channels, kernel, stride, activation.
      image_size: pixels per side.
      channels: C, 3 for every picture that an image holds.

    Raises:
      ValueError: the layers leave no pixel of an image of this size.
    """

    def __init__(self, config: ModelConfig, image_size: int, channels: int = 3) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        kernel, stride = config.encoder_kernel, config.encoder_stride
        self.image_size = size = image_size
        for out in config.encoder_channels:
            size = (size - kernel) // stride + 1
            if size < 1:
                raise ValueError(
                    f"encoder_channels: expected fewer than {len(config.encoder_channels)} layers "
                    f"of {kernel}x{kernel} for image_size={image_size}"
                )
            layers.append(nn.Conv2d(channels, out, kernel, stride, dtype=torch.float32))
            layers.append(activation_module(config.activation))
            channels = out
        self.layers = nn.Sequential(*layers, nn.Flatten())
        self.embedding_size = channels * size * size

    def forward(self, image: Tensor) -> Tensor:
        """Embeds images [N, C, h, w] in [-0.5, 0.5) as [N, E]."""
        embedding: Tensor = self.layers(image)
        return embedding
