"""Shapes, channel order and errors of encoder, decoders and reward model."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from planet.config import ModelConfig
from planet.models.decoder import ConvDecoder, MLPDecoder, make_decoder
from planet.models.encoder import Encoder
from planet.models.reward import RewardModel

PAPER = ModelConfig()


def test_paper_encoder_gives_1024_numbers() -> None:
    encoder = Encoder(PAPER, 64)
    assert encoder.embedding_size == 1024
    assert encoder(torch.zeros(2, 3, 64, 64)).shape == (2, 1024)
    convolutions = [m for m in encoder.modules() if isinstance(m, torch.nn.Conv2d)]
    assert [c.out_channels for c in convolutions] == [32, 64, 128, 256]
    assert all(c.kernel_size == (4, 4) and c.stride == (2, 2) for c in convolutions)
    assert all(c.padding == (0, 0) for c in convolutions)


def test_paper_encoder_ends_with_an_activation() -> None:
    image = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    assert (Encoder(PAPER, 64)(image) >= 0).all()


def test_paper_decoder_gives_64_pixels() -> None:
    decoder = make_decoder(PAPER, 64)
    assert isinstance(decoder, ConvDecoder)
    assert decoder(torch.zeros(2, 230)).shape == (2, 3, 64, 64)
    layers = [m for m in decoder.modules() if isinstance(m, torch.nn.ConvTranspose2d)]
    assert [layer.in_channels for layer in layers] == [1024, 128, 64, 32]
    assert [layer.out_channels for layer in layers] == [128, 64, 32, 3]
    assert [layer.kernel_size[0] for layer in layers] == [5, 5, 6, 6]


@pytest.mark.parametrize("kind", [ConvDecoder, MLPDecoder])
def test_decoder_ends_linear(kind: type[torch.nn.Module]) -> None:
    torch.manual_seed(0)
    image = kind(PAPER, 64)(torch.randn(4, 230) * 5)
    assert image.min() < -0.01
    assert image.max() > 0.01


def test_conv_decoder_refuses_another_image_size() -> None:
    with pytest.raises(
        ValueError,
        match=r"decoder_kernels: \[5, 5, 6, 6\] with stride 2 give 64 .*expected image_size=32",
    ):
        ConvDecoder(PAPER, 32)


def test_encoder_refuses_images_that_are_too_small() -> None:
    with pytest.raises(ValueError, match="encoder_channels: expected fewer than 4 layers of 4x4"):
        Encoder(PAPER, 32)


@pytest.mark.parametrize("size", [8, 32])
def test_mlp_decoder_takes_any_image_size(size: int) -> None:
    decoder = make_decoder(replace(PAPER, decoder="mlp", decoder_hidden=(20, 10)), size)
    assert isinstance(decoder, MLPDecoder)
    assert decoder(torch.zeros(5, 230)).shape == (5, 3, size, size)
    widths = [m.out_features for m in decoder.modules() if isinstance(m, torch.nn.Linear)]
    assert widths == [20, 10, 3 * size * size]


@pytest.mark.parametrize("layers", range(4))
def test_reward_model_is_a_perceptron_with_a_linear_end(layers: int) -> None:
    config = ModelConfig(state_size=2, belief_size=3, reward_layers=layers, reward_hidden=4)
    torch.manual_seed(layers)
    model = RewardModel(config)
    features = torch.randn(5, 7, 5)
    expected = features
    for index, (weight, bias) in enumerate(zip(model.weights, model.biases, strict=True)):
        expected = expected @ weight.T + bias
        if index < layers:
            expected = expected.relu()
    assert len(model.weights) == layers + 1
    torch.testing.assert_close(model(features), expected[..., 0])
