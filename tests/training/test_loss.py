"""The sequence loss against loops over single elements and torch.distributions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from acting.captures import CaptureRules
from small_models import make_chunk, make_model
from torch import Tensor
from torch.distributions import Normal
from torch.distributions import kl_divergence as oracle_kl

from planet import noise
from planet.config import TrainConfig
from planet.latent import Gaussian, LatentState, kl_divergence
from planet.models import WorldModel
from planet.noise import STREAM_POSTERIOR, STREAM_STATE, row_seeds
from planet.ops import draws, equations
from planet.protocols import Chunk, Filtered
from planet.training.loss import sequence_loss

SEEDS = row_seeds(0, 3)  # of the rows of `make_chunk`
HALF_LOG_2_PI = 0.5 * float(np.log(2 * np.pi))
S = 3

EVERYTHING = TrainConfig(
    image_weight=0.7, reward_weight=11.0, divergence_weight=1.3, free_nats=2.5,
    global_prior_weight=0.2, overshooting_distance=3, overshooting_weight=0.9,
    overshooting_reward_weight=5.0, overshooting_observation_weight=0.4,
)  # fmt: skip


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(gaussian: Gaussian) -> Normal:
    return Normal(gaussian.mean, gaussian.stddev)


def negative_log_probability(mean: Tensor, value: Tensor) -> Tensor:
    """-log N(value; mean, 1), summed, without its constant."""
    return -(Normal(mean, 1.0).log_prob(value) + HALF_LOG_2_PI).sum()


def brute_force(
    model: WorldModel, chunk: Chunk, config: TrainConfig, seed: int = 0
) -> dict[str, Tensor]:
    """Every element (t, b) by itself, from the definition; only the random numbers are shared."""
    steps, batch = chunk.reward.shape
    seeds = row_seeds(seed, batch)
    dither = noise.dither(seeds, steps, 8 * 8 * 3).reshape(steps, batch, 8, 8, 3)
    normals = draws.normals(seeds, steps, S, stream=STREAM_POSTERIOR)
    image, reward, divergence, kl, world = [], [], [], [], []
    latents, posteriors, pictures = {}, {}, {}
    for b in range(batch):
        latent = LatentState(torch.zeros(5), torch.zeros(S))
        for t in range(steps):
            byte = chunk.observation["image"][t, b].numpy().astype(np.float64)
            level = torch.from_numpy(np.floor(byte / 8) / 32 - 0.5).float()  # 5 bits
            pixels = (level + dither[t, b] / 32).permute(2, 0, 1)
            belief = equations.next_belief(model.latent_model, latent, chunk.action[t, b])
            prior = equations.prior(model.latent_model, belief)
            embedding = model.encoders["image"](pixels[None])[0]
            posterior = posterior_of(model, belief, embedding)
            latent = LatentState(belief, posterior.mean + posterior.stddev * normals[b, t])
            latents[t, b], posteriors[t, b], pictures[t, b] = latent, posterior, pixels
            image.append(negative_log_probability(model.decode(latent)["image"], pixels))
            predicted = model.reward(latent)
            reward.append(negative_log_probability(predicted, chunk.reward[t, b]))
            kl.append(oracle_kl(normal(posterior), normal(prior)).sum())
            divergence.append(torch.maximum(kl[-1], torch.tensor(config.free_nats)))
            standard = Normal(torch.zeros(S), torch.ones(S))
            world.append(oracle_kl(normal(posterior), standard).sum())
    over = brute_force_overshooting(model, chunk, config, seeds, latents, posteriors, pictures)
    means = [torch.stack(x).mean() for x in (image, reward, divergence, kl, world)]
    total = (
        config.image_weight * means[0]
        + config.reward_weight * means[1]
        + config.divergence_weight * means[2]
        + config.global_prior_weight * means[4]
        + config.overshooting_weight * over[0]
        + config.overshooting_reward_weight * over[1]
        + config.overshooting_observation_weight * over[2]
    )
    names = ["total", "image", "reward", "divergence", "kl", "global_prior", "overshooting",
             "overshooting_reward", "overshooting_observation"]  # fmt: skip
    return dict(zip(names, [total, *means, *over], strict=True))


def posterior_of(model: WorldModel, belief: Tensor, embedding: Tensor) -> Gaussian:
    hidden = model.latent_model.posterior_hidden(torch.cat([belief, embedding]))
    head, floor = model.latent_model.posterior_head, model.latent_model.min_stddev
    return equations.gaussian_head(torch.relu(hidden), head.weight, head.bias, floor, "add")


def brute_force_overshooting(
    model: WorldModel,
    chunk: Chunk,
    config: TrainConfig,
    seeds: Tensor,
    latents: dict[tuple[int, int], LatentState],
    posteriors: dict[tuple[int, int], Gaussian],
    pictures: dict[tuple[int, int], Tensor],
) -> list[Tensor]:
    """For every start and every distance, roll the prior from the start anew: O(T D^2) steps."""
    steps, batch = chunk.reward.shape
    distance = min(config.overshooting_distance, steps - 1)
    normals = {
        d: draws.normals(seeds, steps, S, stream=STREAM_STATE, time=d)
        for d in range(1, distance + 1)
    }
    terms: list[list[Tensor]] = [[], [], []]  # of KL, reward and observation, by distance
    for d in range(1, distance + 1):
        pairs: list[list[Tensor]] = [[], [], []]
        for b in range(batch):
            for start in range(steps - d):
                latent = latents[start, b]
                for step in range(1, d + 1):
                    action = chunk.action[start + step, b]
                    belief = equations.next_belief(model.latent_model, latent, action)
                    prior = equations.prior(model.latent_model, belief)
                    latent = LatentState(belief, prior.sample(normals[step][b, start]))
                target = posteriors[start + d, b]
                target = Gaussian(target.mean.detach(), target.stddev.detach())
                kl = oracle_kl(normal(target), normal(prior)).sum()
                error = model.reward(latent) - chunk.reward[start + d, b]
                decoded = model.decode(latent)["image"]
                missed = negative_log_probability(decoded, pictures[start + d, b])
                found = torch.maximum(kl, torch.tensor(config.free_nats)), 0.5 * error**2, missed
                for values, value in zip(pairs, found, strict=True):
                    values.append(value)
        for means, values in zip(terms, pairs, strict=True):
            means.append(torch.stack(values).mean())
    # The bound's own divergence has distance 1, and rewards count where divergences do.
    counted = terms[0][1:], terms[1][1:], terms[2]
    return [torch.stack(means).mean() if means else torch.tensor(0.0) for means in counted]


def test_kl_is_that_of_torch_distributions() -> None:
    random = generator(1)
    means, stddevs = (draw(2, 50, 7, generator=random) * 3 for draw in (torch.randn, torch.rand))
    left, right = map(Gaussian, means, stddevs + 0.1)
    expected = oracle_kl(normal(left), normal(right)).sum(dim=-1)
    torch.testing.assert_close(kl_divergence(left, right), expected)
    assert (kl_divergence(left, right) >= 0).all()
    assert not kl_divergence(left, left).any()
    assert not torch.allclose(kl_divergence(left, right), kl_divergence(right, left))


def test_kl_gradient_is_that_of_torch_distributions() -> None:
    random = generator(2)
    tensors = [torch.rand(4, 3, generator=random).add(0.2).requires_grad_() for _ in range(4)]
    kl_divergence(Gaussian(*tensors[:2]), Gaussian(*tensors[2:])).sum().backward()
    got = [tensor.grad for tensor in tensors]
    fresh = [tensor.detach().clone().requires_grad_() for tensor in tensors]
    oracle_kl(Normal(*fresh[:2]), Normal(*fresh[2:])).sum().backward()
    for ours, oracle in zip(got, fresh, strict=True):
        torch.testing.assert_close(ours, oracle.grad)


def reaching(distance: int) -> TrainConfig:
    """Every term that there is up to a distance."""
    weights = {"overshooting_weight": 2, "overshooting_reward_weight": 2}
    weights |= {"overshooting_observation_weight": 1}
    without = {name: 0.0 for name, least in weights.items() if distance < least}
    return replace(EVERYTHING, overshooting_distance=distance, **without)


@pytest.mark.parametrize("distance", [0, 1, 2, 3, 4, 9])
def test_loss_equals_a_loop_over_elements(distance: int) -> None:
    model, chunk = make_model(), make_chunk(steps=5)
    config = reaching(distance)
    expected = brute_force(model, chunk, config)
    terms = sequence_loss(model, chunk, config, SEEDS)
    if not distance:
        assert expected.pop("overshooting_observation") == 0.0
    assert terms.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(terms[name], value, msg=lambda m, n=name: f"{n}: {m}")
    assert (terms["overshooting"] > 0) == (distance > 1)


def test_gradients_equal_those_of_a_loop_over_elements() -> None:
    """This includes where gradients stop: at the overshooting's posteriors."""
    model, chunk = make_model(), make_chunk(steps=5)
    brute_force(model, chunk, EVERYTHING)["total"].backward()
    expected = {name: p.grad for name, p in model.named_parameters()}
    model.zero_grad(set_to_none=True)
    sequence_loss(model, chunk, EVERYTHING, SEEDS)["total"].backward()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(
            parameter.grad, expected[name], rtol=1e-4, atol=1e-5, msg=lambda m, n=name: f"{n}: {m}"
        )


def test_gradients_reach_every_parameter() -> None:
    model = make_model()
    sequence_loss(model, make_chunk(), TrainConfig(free_nats=0.0), SEEDS)["total"].backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_free_nats_above_the_kl_cost_nothing_and_push_nowhere() -> None:
    model = make_model()
    terms = sequence_loss(model, make_chunk(), TrainConfig(free_nats=1e6), SEEDS)
    assert terms["divergence"].item() == 1e6
    assert 0 < terms["kl"].item() < 1e6
    terms["divergence"].backward()
    assert all(p.grad is None or not p.grad.any() for p in model.parameters())


def test_free_nats_below_the_kl_change_nothing() -> None:
    terms = sequence_loss(make_model(), make_chunk(), TrainConfig(free_nats=0.0), SEEDS)
    assert torch.equal(terms["divergence"], terms["kl"])


def test_free_nats_count_per_element_and_not_for_the_mean() -> None:
    """Elements lie on both sides of the limit: their mean of maxima is above the maximum."""
    model, chunk = make_model(), make_chunk()
    kl = sequence_loss(model, chunk, TrainConfig(), SEEDS)["kl"].item()
    divergence = sequence_loss(model, chunk, TrainConfig(free_nats=kl), SEEDS)["divergence"]
    assert divergence.item() > kl * 1.05


@pytest.mark.parametrize(
    "term",
    ["image", "reward", "divergence", "global_prior", "overshooting", "overshooting_reward",
     "overshooting_observation"],
)  # fmt: skip
def test_a_weight_scales_its_own_term(term: str) -> None:
    """Only the total changes, by the term."""
    model, chunk, weight = make_model(scale=0.1), make_chunk(), f"{term}_weight"
    before = sequence_loss(model, chunk, EVERYTHING, SEEDS)
    heavier = replace(EVERYTHING, **{weight: getattr(EVERYTHING, weight) + 200.0})
    after = sequence_loss(model, chunk, heavier, SEEDS)
    rise = after.pop("total") - before.pop("total")
    torch.testing.assert_close(rise, 200.0 * before[term], rtol=1e-4, atol=1e-3)
    assert before == after


def test_default_weights_are_image_1_reward_10_divergence_1() -> None:
    terms = sequence_loss(make_model(), make_chunk(), TrainConfig(), SEEDS)
    expected = terms["image"] + 10 * terms["reward"] + terms["divergence"]
    torch.testing.assert_close(terms["total"], expected)


def test_terms_do_not_depend_on_the_batch_size() -> None:
    """They are means: the same row twice costs what it costs once, but for the random numbers."""
    model, chunk = make_model(), make_chunk(batch=1)
    arrays = (chunk.observation["image"], chunk.action, chunk.reward, chunk.terminated)
    image, *rest = (array.repeat_interleave(400, dim=1) for array in arrays)
    twice = Chunk({"image": image}, *rest)
    losses = [
        sequence_loss(model, chunk, TrainConfig(), row_seeds(k, 1))["total"] for k in range(400)
    ]
    many = sequence_loss(model, twice, TrainConfig(), row_seeds(1, 400))
    assert abs(torch.stack(losses).mean() / many["total"] - 1) < 0.1


def test_random_numbers_come_from_the_seeds_alone() -> None:
    model, chunk = make_model(), make_chunk()
    state = torch.random.get_rng_state()
    first = sequence_loss(model, chunk, EVERYTHING, row_seeds(3, 3))["total"]
    second = sequence_loss(model, chunk, EVERYTHING, row_seeds(3, 3))["total"]
    other = sequence_loss(model, chunk, EVERYTHING, row_seeds(4, 3))["total"]
    assert torch.equal(first, second)
    assert not torch.equal(first, other)
    assert torch.equal(state, torch.random.get_rng_state())


def test_a_step_reads_nothing_and_copies_no_numbers() -> None:
    """A stream capture refuses both."""
    model, chunk = make_model(), make_chunk()
    with CaptureRules():
        sequence_loss(model, chunk, EVERYTHING, SEEDS)["total"].backward()


@pytest.mark.parametrize("t", range(4))
def test_reward_t_belongs_to_observation_t(t: int) -> None:
    """Reward t is predicted from the latent that actions 0 to t led to; later ones have no part."""
    model, chunk = make_model(), make_chunk(batch=1)
    action = chunk.action.clone().requires_grad_()
    losses = []
    for change in (0.0, 1.0):
        reward = chunk.reward.clone()
        reward[t] += change
        moved = Chunk(chunk.observation, action, reward, chunk.terminated)
        losses.append(sequence_loss(model, moved, TrainConfig(), row_seeds(0, 1))["reward"])
    (gradient,) = torch.autograd.grad(losses[1] - losses[0], action)
    assert [k for k in range(4) if gradient[k].abs().sum() > 1e-7] == list(range(t + 1))


def test_a_row_does_not_depend_on_its_batch_nor_on_what_follows() -> None:
    """Its random numbers are those of its seed and of the time step."""
    model, chunk = make_model(), make_chunk()
    whole = filtered_states(model, chunk, SEEDS)
    for steps, row in ((4, 1), (3, 2), (1, 0)):
        image, *rest = (
            array[:steps, row : row + 1]
            for array in (chunk.observation["image"], chunk.action, chunk.reward, chunk.terminated)
        )
        alone = Chunk({"image": image}, *rest)
        states = filtered_states(model, alone, SEEDS[row : row + 1])
        torch.testing.assert_close(states, whole[:steps, row : row + 1])


def filtered_states(model: WorldModel, chunk: Chunk, seeds: Tensor) -> Tensor:
    """The samples that the loss makes of a chunk, [T, B, S]."""
    found = []
    with pytest.MonkeyPatch.context() as patch:
        filter_chunk = model.filter_chunk

        def look(*arguments: Tensor) -> Filtered:
            found.append(filter_chunk(*arguments))
            return found[-1]

        patch.setattr(model, "filter_chunk", look)
        sequence_loss(model, chunk, TrainConfig(), seeds)
    return found[0].latent.state
