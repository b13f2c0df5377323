"""The pixel convention against its formula in numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from planet import noise
from planet.noise import row_seeds
from planet.ops.pixels import images, postprocess, preprocess

DEPTHS = range(1, 9)


def observations(seed: int = 0, *shape: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)


@pytest.mark.parametrize("depth", DEPTHS)
def test_preprocess_is_the_published_formula(depth: int) -> None:
    every = torch.arange(256, dtype=torch.uint8).repeat(3)  # every value in every channel
    observation = every.reshape(16, 16, 3)
    dither = torch.rand(16, 16, 3, generator=torch.Generator().manual_seed(1))
    # google-research/planet, tools/preprocess.py:22-45, in numpy
    levels = np.floor(observation.numpy() / 2.0 ** (8 - depth)) / 2.0**depth
    expected = levels + dither.double().numpy() / 2.0**depth - 0.5
    image = preprocess(observation, depth, dither)
    assert image.dtype == torch.float32
    assert image.shape == (3, 16, 16)
    np.testing.assert_allclose(image.movedim(0, -1).numpy(), expected, rtol=0, atol=6e-8)


@pytest.mark.parametrize("depth", DEPTHS)
def test_preprocess_stays_within_half_and_is_centred(depth: int) -> None:
    observation = observations(0, 64, 64, 3)
    dither = torch.rand(64, 64, 3, generator=torch.Generator().manual_seed(1))
    image = preprocess(observation, depth, dither)
    assert image.min() >= -0.5
    assert image.max() <= 0.5
    assert abs(image.mean()) < 0.02  # all bytes equally likely: uniform on [-0.5, 0.5]
    assert abs(image.std() - 12**-0.5) < 0.02


@pytest.mark.parametrize("depth", DEPTHS)
def test_dither_fills_one_level_and_no_more(depth: int) -> None:
    observation = observations(2, 8, 8, 3)
    low = preprocess(observation, depth, torch.zeros(8, 8, 3))
    high = preprocess(observation, depth, torch.ones(8, 8, 3))
    torch.testing.assert_close(high - low, torch.full((3, 8, 8), 2.0**-depth), rtol=0, atol=1e-7)


@pytest.mark.parametrize("depth", DEPTHS)
def test_postprocess_is_the_inverse_within_a_level(depth: int) -> None:
    observation = torch.arange(256, dtype=torch.uint8).repeat(3).reshape(16, 16, 3)
    dither = torch.rand(16, 16, 3, generator=torch.Generator().manual_seed(1))
    restored = postprocess(preprocess(observation, depth, dither))
    assert restored.dtype == torch.uint8
    assert restored.shape == observation.shape
    # The dithered value falls anywhere into the level that the byte belongs to.
    assert torch.equal(restored >> (8 - depth), observation >> (8 - depth))


def test_postprocess_clips() -> None:
    image = torch.tensor([-9.0, -0.5, 0.0, 0.4999, 0.5, 9.0]).reshape(1, 1, 6).expand(3, 1, 6)
    assert postprocess(image)[0, :, 0].tolist() == [0, 0, 128, 255, 255, 255]


def test_preprocess_keeps_leading_dimensions_and_channel_order() -> None:
    observation = observations(3, 2, 4, 5, 6, 3)
    image = preprocess(observation, 8, torch.zeros(2, 4, 5, 6, 3))
    assert image.shape == (2, 4, 3, 5, 6)
    expected = observation[1, 2, 3, 4].float() / 256 - 0.5
    torch.testing.assert_close(image[1, 2, :, 3, 4], expected, rtol=0, atol=0)


def test_preprocess_leaves_its_arguments_alone() -> None:
    observation, dither = observations(4, 2, 2, 3), torch.rand(2, 2, 3)
    copies = observation.clone(), dither.clone()
    preprocess(observation, 5, dither)
    assert torch.equal(observation, copies[0])
    assert torch.equal(dither, copies[1])


@pytest.mark.parametrize(
    "observation",
    [torch.zeros(4, 4, 3), torch.zeros(4, 4, 4, dtype=torch.uint8), torch.zeros(4, 4, 3).long()],
)
def test_preprocess_refuses_what_is_no_picture(observation: torch.Tensor) -> None:
    with pytest.raises(
        ValueError,
        match=r"observation: .* \[\.\.\., h, w, C\] with C a multiple of 3, got",
    ):
        preprocess(observation, 5, torch.zeros(observation.shape))


# ---- Images of chunks ----------------------------------------------------------------------------


@pytest.mark.parametrize("depth", DEPTHS)
def test_images_are_the_published_formula_in_exact_numbers(depth: int) -> None:
    observation, seeds = observations(5, 3, 2, 5, 7, 3), row_seeds(8, 2)
    image = images(observation, seeds, depth)
    assert image.shape == (3, 2, 3, 5, 7)
    assert image.dtype == torch.float32
    dither = noise.dither(seeds, 3, 105).reshape(3, 2, 5, 7, 3)
    levels = np.floor(observation.numpy() / 2.0 ** (8 - depth)) / 2.0**depth
    expected = levels + dither.double().numpy() / 2.0**depth - 0.5
    assert np.array_equal(image.movedim(-3, -1).numpy(), expected)
    assert torch.equal(image, preprocess(observation, depth, dither))


def test_an_image_depends_on_its_own_seed_and_time_alone() -> None:
    observation, seeds = observations(6, 4, 3, 6, 5, 3), row_seeds(1, 3)
    whole = images(observation, seeds, 5)
    assert torch.equal(images(observation[:2], seeds, 5), whole[:2])
    assert torch.equal(images(observation[:, 1:2], seeds[1:2], 5), whole[:, 1:2])
    assert torch.equal(images(observation.flip(1), seeds.flip(0), 5), whole.flip(1))
    assert torch.equal(images(observation[:, :1], seeds[0], 5), whole[:, :1])


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        ({"observation": torch.zeros(2, 2, 4, 4, 3)}, ValueError,
         r"observation: .* h, w, C\] with C a multiple of 3, got torch.float32 \[2, 2, 4, 4, 3\]"),
        ({"observation": torch.zeros(2, 4, 4, 3, dtype=torch.uint8)}, ValueError,
         r"observation: .* h, w, C\] with C a multiple of 3, got torch.uint8 \[2, 4, 4, 3\]"),
        ({"observation": torch.zeros(2, 2, 3, 4, 4, dtype=torch.uint8)}, ValueError,
         r"observation: .* h, w, C\] with C a multiple of 3, got torch.uint8 \[2, 2, 3, 4, 4\]"),
        ({"seeds": torch.zeros(2)}, TypeError,
         r"seeds: expected an int64 tensor \[B=2\], got torch.float32"),
        ({"seeds": row_seeds(0, 3)}, ValueError,
         r"seeds: expected an int64 tensor \[B=2\], got shape \[3\]"),
        ({"seeds": row_seeds(0, 2, "meta")}, ValueError,
         "seeds: expected device cpu, got meta"),
    ],
)  # fmt: skip
def test_images_refuse_with_argument_expected_and_received(
    change: dict[str, torch.Tensor], kind: type[Exception], message: str
) -> None:
    good = {"observation": observations(0, 2, 2, 4, 4, 3), "seeds": row_seeds(0, 2)}
    with pytest.raises(kind, match=f"^{message}$"):
        images(**(good | change), bit_depth=5)
