"""Brings models of other code bases over and compares them."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import pytest
import torch
from foreign_models import BELIEF, STATE, DreamerPrior, PlaNetReward, PlaNetTransition, reward_mlp
from ops.tolerances import returns_error
from torch import Tensor, nn

from planet.latent import LatentState
from planet.weights.modules import gru_tensors
from planet.weights.rollout_weights import RolloutWeights
from planet.weights.verification import Step

MATRICES = tuple[Tensor, Tensor, Tensor, Tensor]


def planet_model() -> tuple[RolloutWeights, nn.Module, nn.Module, Step]:
    """Brings Kaixhin/PlaNet's over: nothing but names."""
    torch.manual_seed(1)
    transition, reward = PlaNetTransition(), PlaNetReward()
    weights = RolloutWeights.from_modules(
        input=transition.fc_embed_state_action,
        gru=transition.rnn,
        prior_hidden=transition.fc_embed_belief_prior,
        prior=transition.fc_state_prior,
        reward=[reward.fc1, reward.fc2, reward.fc3],
    )

    def step(belief: Tensor, state: Tensor, action: Tensor) -> MATRICES:
        beliefs, _, means, stddevs = transition(state, action[None], belief)
        return beliefs[0], means[0], stddevs[0], reward(beliefs[0], means[0])

    return weights, transition, reward, step


def dreamer_model(
    mapping: str = "softplus", scale_lb: float = 0.1
) -> tuple[RolloutWeights, nn.Module, nn.Module, Step]:
    """Brings TorchRL's over: ELU, a clamped or biased stddev, the reward reads the state first."""
    torch.manual_seed(2)
    prior, reward = DreamerPrior(mapping, scale_lb), reward_mlp()
    entry, hidden, out = prior.action_state_projector[0], *prior.rnn_to_prior_projector[::2]
    first, *others = reward[::2]
    bias, form = out.bias, {"stddev": "clamp", "min_stddev": scale_lb}
    if prior.biased:  # the minimum, 0.01, is added and never below scale_lb: that has no effect
        bias = bias + torch.cat([torch.zeros(STATE), torch.full((STATE,), prior.bias)])
        form = {"stddev": "add", "min_stddev": 0.01}
    belief_first = torch.cat([first.weight[:, STATE:], first.weight[:, :STATE]], dim=1)
    weights = RolloutWeights(
        input_weight=entry.weight,
        input_bias=entry.bias,
        **gru_tensors(prior.rnn),
        prior_hidden_weight=hidden.weight,
        prior_hidden_bias=hidden.bias,
        prior_weight=out.weight,
        prior_bias=bias,
        reward_weights=[belief_first, *(layer.weight for layer in others)],
        reward_biases=[layer.bias for layer in reward[::2]],
        activation="elu",
        **form,
    )

    def step(belief: Tensor, state: Tensor, action: Tensor) -> MATRICES:
        mean, stddev, _, belief = prior(state, belief, action)
        return belief, mean, stddev, reward(torch.cat([mean, belief], dim=-1)).squeeze(-1)

    return weights, prior, reward, step


FOREIGN: dict[str, Callable[[], tuple[RolloutWeights, nn.Module, nn.Module, Step]]] = {
    "planet": planet_model,
    "dreamer": dreamer_model,
    "dreamer, stddev at its bound": lambda: dreamer_model(scale_lb=0.7),
    "dreamer, biased": lambda: dreamer_model("biased_softplus_1.0", 1e-4),
}


@pytest.mark.parametrize("name", list(FOREIGN))
def test_models_of_other_code_bases_come_over(ops: ModuleType, name: str) -> None:
    weights, transition, reward, step = FOREIGN[name]()
    weights.verify(step, tolerance=1e-6)
    transition.double()
    reward.double()
    generator = torch.Generator().manual_seed(3)
    belief, state = torch.rand(2, BELIEF, generator=generator), torch.randn(2, STATE)
    actions = torch.rand(6, 2, 9, 6, generator=generator) * 2 - 1
    noise = torch.randn(6, 2, 9, STATE, generator=generator)
    here = [x.double()[:, None].expand(-1, 9, -1).reshape(18, -1) for x in (belief, state)]
    total = torch.zeros(18, dtype=torch.float64)
    for action, draw in zip(actions.double(), noise.double(), strict=True):
        found, mean, stddev, _ = step(here[0], here[1], action.reshape(18, -1))
        here = [found, mean + stddev * draw.reshape(18, -1)]
        of_reward = here if isinstance(reward, PlaNetReward) else [torch.cat(here[::-1], dim=1)]
        total += reward(*of_reward).reshape(18)
    got = ops.rollout_returns(weights, LatentState(belief, state), actions, noise)
    assert returns_error(got, total.reshape(2, 9).detach()) <= 1e-6
