"""The decoders: mean of p(o_t | h_t, s_t) with unit stddev."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from planet.config import ModelConfig
from planet.models.activation import activation_module


def make_decoder(config: ModelConfig, image_size: int, channels: int = 3) -> nn.Module:
    """Makes the decoder that `config.decoder` names: features [N, D+S] to images [N, C, h, w]."""
    kind = ConvDecoder if config.decoder == "conv" else MLPDecoder
    return kind(config, image_size, channels)


class ConvDecoder(nn.Module):
    """A linear layer, then transposed convolutions, linear at the end.

    Ha and Schmidhuber (2018), as used by PlaNet (official code, networks/conv_ha.py): 1024 numbers
    become 64x64x3 through channels 128, 64, 32, 3 with kernels 5, 5, 6, 6 and stride 2.

    Raises:
      ValueError: the layers do not end at `image_size`.
    """

    def __init__(self, config: ModelConfig, image_size: int, channels: int = 3) -> None:
        super().__init__()
        size = 1
        for kernel in config.decoder_kernels:
            size = (size - 1) * config.decoder_stride + kernel
        if size != image_size:
            raise ValueError(
                f"decoder_kernels: {list(config.decoder_kernels)} with stride "
                f"{config.decoder_stride} give {size} pixels per side; expected "
                f"image_size={image_size}"
            )
        self.width = config.decoder_input
        features, stride = config.features, config.decoder_stride
        self.input = nn.Linear(features, self.width, dtype=torch.float32)
        layers: list[nn.Module] = []
        outs, channels = (*config.decoder_channels, channels), self.width
        for out, kernel in zip(outs, config.decoder_kernels, strict=True):
            layers.append(nn.ConvTranspose2d(channels, out, kernel, stride, dtype=torch.float32))
            layers.append(activation_module(config.activation))
            channels = out
        self.layers = nn.Sequential(*layers[:-1])

    def forward(self, features: Tensor) -> Tensor:
        """Decodes [N, D+S] as [N, C, h, w], nominally in [-0.5, 0.5]."""
        image: Tensor = self.layers(self.input(features).reshape(-1, self.width, 1, 1))
        return image


class MLPDecoder(nn.Module):
    """A multilayer perceptron: for small images some ten times cheaper than convolutions."""

    def __init__(self, config: ModelConfig, image_size: int, channels: int = 3) -> None:
        super().__init__()
        self.image_size, self.channels = image_size, channels
        width = config.features
        layers: list[nn.Module] = []
        for hidden in config.decoder_hidden:
            layers.append(nn.Linear(width, hidden, dtype=torch.float32))
            layers.append(activation_module(config.activation))
            width = hidden
        layers.append(nn.Linear(width, channels * image_size**2, dtype=torch.float32))
        self.layers = nn.Sequential(*layers)

    def forward(self, features: Tensor) -> Tensor:
        """Decodes [N, D+S] as [N, C, h, w], nominally in [-0.5, 0.5]."""
        image: Tensor = self.layers(features)
        # Channels last in memory, as images are, so that the loss runs over both in one order.
        return image.reshape(-1, self.image_size, self.image_size, self.channels).movedim(-1, -3)
