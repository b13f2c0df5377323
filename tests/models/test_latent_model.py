"""The latent model: chunks against a loop of single steps, the time convention, gradients."""

from __future__ import annotations

import pytest
import torch
from small_models import make_model
from torch import Tensor

from planet.latent import LatentState
from planet.models.latent_model import LatentModel
from planet.ops import equations
from planet.ops.dynamics import imagine

T, B, S, D, A, E = 6, 3, 3, 5, 2, 6


@pytest.fixture(params=["relu", "elu"])
def rssm(request: pytest.FixtureRequest) -> LatentModel:
    return make_model(activation=request.param).latent_model


def inputs() -> tuple[Tensor, Tensor, Tensor]:
    """embedding [T, B, E], action [T, B, A], noise [T, B, S]."""
    generator = torch.Generator().manual_seed(7)
    return (
        torch.randn(T, B, E, generator=generator),
        torch.rand(T, B, A, generator=generator) * 2 - 1,
        torch.randn(T, B, S, generator=generator),
    )


def test_a_chunk_is_the_published_equations(rssm: LatentModel) -> None:
    """Linear layers, `torch.nn.GRUCell` and softplus, written out once more, step by step."""
    embedding, action, noise = inputs()
    filtered = rssm.filter_chunk(embedding, action, noise)
    act = torch.nn.ReLU() if rssm.activation == "relu" else torch.nn.ELU()
    belief, state = torch.zeros(B, D), torch.zeros(B, S)
    for t in range(T):
        belief = rssm.gru(act(rssm.input(torch.cat([state, action[t]], dim=-1))), belief)
        prior = rssm.prior_head(act(rssm.prior_hidden(belief)))
        hidden = act(rssm.posterior_hidden(torch.cat([belief, embedding[t]], dim=-1)))
        posterior = rssm.posterior_head(hidden)
        for gaussian, raw in ((filtered.prior, prior), (filtered.posterior, posterior)):
            torch.testing.assert_close(gaussian.mean[t], raw[:, :S])
            torch.testing.assert_close(gaussian.stddev[t], stddev_of(raw))
        state = posterior[:, :S] + stddev_of(posterior) * noise[t]
        torch.testing.assert_close(filtered.latent.belief[t], belief)
        torch.testing.assert_close(filtered.latent.state[t], state)


def stddev_of(raw: Tensor) -> Tensor:
    return torch.log1p(torch.exp(raw[:, S:])) + 0.1


def test_filter_chunk_shapes(rssm: LatentModel) -> None:
    filtered = rssm.filter_chunk(*inputs())
    assert filtered.latent.belief.shape == (T, B, D)
    assert filtered.latent.state.shape == (T, B, S)
    for gaussian in (filtered.prior, filtered.posterior):
        assert gaussian.mean.shape == gaussian.stddev.shape == (T, B, S)
        assert (gaussian.stddev > 0.1).all()


def test_rows_of_a_chunk_do_not_mix(rssm: LatentModel) -> None:
    embedding, action, noise = inputs()
    whole = rssm.filter_chunk(embedding, action, noise)
    one = rssm.filter_chunk(embedding[:, 1:2], action[:, 1:2], noise[:, 1:2])
    torch.testing.assert_close(one.latent.state[:, 0], whole.latent.state[:, 1])


def changed_indices(first: Tensor, second: Tensor) -> list[int]:
    return [t for t in range(T) if not torch.equal(first[t], second[t])]


@pytest.mark.parametrize("t", range(T))
def test_action_t_leads_to_observation_t(rssm: LatentModel, t: int) -> None:
    """Belief, prior and posterior change from index t on, nothing before."""
    embedding, action, noise = inputs()
    before = rssm.filter_chunk(embedding, action, noise)
    action[t] += 0.5
    after = rssm.filter_chunk(embedding, action, noise)
    later = list(range(t, T))
    assert changed_indices(before.latent.belief, after.latent.belief) == later
    assert changed_indices(before.prior.mean, after.prior.mean) == later
    assert changed_indices(before.posterior.mean, after.posterior.mean) == later


@pytest.mark.parametrize("t", range(T))
def test_observation_t_informs_the_posterior_and_the_prior_after(rssm: LatentModel, t: int) -> None:
    embedding, action, noise = inputs()
    before = rssm.filter_chunk(embedding, action, noise)
    embedding[t] += 0.5
    after = rssm.filter_chunk(embedding, action, noise)
    assert changed_indices(before.posterior.mean, after.posterior.mean) == list(range(t, T))
    assert changed_indices(before.latent.state, after.latent.state) == list(range(t, T))
    assert changed_indices(before.prior.mean, after.prior.mean) == list(range(t + 1, T))
    assert changed_indices(before.latent.belief, after.latent.belief) == list(range(t + 1, T))


def test_first_index_starts_from_the_zero_latent(rssm: LatentModel) -> None:
    embedding, action, noise = inputs()
    action[0] = 0  # the reset frame's
    x = equations.activate(rssm.input_bias, rssm.activation)
    belief = rssm.gru(x[None], torch.zeros(1, D))
    filtered = rssm.filter_chunk(embedding, action, noise)
    torch.testing.assert_close(filtered.latent.belief[0], belief.expand(B, -1))


def test_imagine_equals_a_loop_over_the_prior(rssm: LatentModel) -> None:
    _, action, noise = inputs()
    start = LatentState(torch.ones(B, D), torch.ones(B, S))
    latents, priors = imagine(rssm, start, action, noise)
    latent = start
    for t in range(T):
        belief = equations.next_belief(rssm, latent, action[t])
        prior = equations.prior(rssm, belief)
        latent = LatentState(belief, prior.mean + prior.stddev * noise[t])
        assert torch.equal(latents.belief[t], latent.belief)
        assert torch.equal(latents.state[t], latent.state)
        assert torch.equal(priors.stddev[t], prior.stddev)


def test_gradients_reach_every_parameter(rssm: LatentModel) -> None:
    filtered = rssm.filter_chunk(*inputs())
    total = filtered.latent.features.square().sum() + filtered.prior.mean.square().sum()
    (total + filtered.prior.stddev.log().sum() + filtered.posterior.stddev.log().sum()).backward()
    for name, parameter in rssm.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_gradient_of_a_late_step_reaches_the_first_action(rssm: LatentModel) -> None:
    embedding, action, noise = inputs()
    action.requires_grad_()
    rssm.filter_chunk(embedding, action, noise).prior.mean[-1].sum().backward()
    assert action.grad is not None
    assert (action.grad.abs().sum(dim=(1, 2)) > 0).all()
