"""A linear-Gaussian model written into RSSM and SSM weights, with a known best plan.

State [position, goal], each of `dims` numbers; action a of `dims` numbers:

    position' = position + GAIN * a + stddev * w,   goal' = goal,   reward = -sum |position - goal|

The input layer splits state and action into positive and negative parts (ReLU), the update gate is
saturated at 0 so that the new belief is tanh of a linear function scaled by `SMALL`, where tanh is
linear to SMALL**2 / 3; the prior undoes the scale. The reward layer takes both parts of the
difference. The SSM's prior reads the parts without a belief between, so that nothing bends.
Within the bounds [-1, 1] the best plan moves each position to its goal as fast as possible.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from planet.latent import LatentState
from planet.weights.rollout_weights import RolloutWeights

GAIN = 0.25  # positions per action
SMALL = 1e-2  # of the belief, so that tanh is linear to 3e-5
SATURATED = 100.0  # sigmoid(-100) and softplus(-100) are 0 in float32


# Largest error of a return from what the RSSM's tanh bends, and of float32 alone in the SSM.
BENT = {"rssm": 3e-3, "ssm": 3e-6}


def linear_weights(dims: int, stddev: float = 0.0, transition: str = "rssm") -> RolloutWeights:
    """The snapshot: S = 2 dims, D = 2 dims or 0, A = dims."""
    state, inputs = 2 * dims, 3 * dims
    split = torch.cat([torch.eye(inputs), -torch.eye(inputs)])  # [positive parts; negative parts]
    join = torch.eye(state, inputs)  # position and goal go on ...
    join[:dims, state:] = GAIN * torch.eye(dims)  # ... and the action moves the position
    move = torch.cat([join, -join], dim=1)
    hidden, recurrent = 2 * inputs, transition == "rssm"
    before = torch.eye(state) if recurrent else move  # what the prior reads into the next state
    prior_hidden = torch.zeros(hidden, before.shape[1])
    prior_hidden[:state], prior_hidden[state : 2 * state] = before, -before
    prior = torch.zeros(2 * state, hidden)
    prior[:state, :state] = torch.eye(state)
    prior[:state, state : 2 * state] = -torch.eye(state)
    raw_stddev = torch.full((state,), -SATURATED)
    raw_stddev[:dims] = math.log(math.expm1(stddev)) if stddev > 0 else -SATURATED
    gru = {}
    if recurrent:
        prior /= SMALL
        gates = torch.zeros(3 * state)
        gates[state : 2 * state] = -SATURATED
        gru = {
            "gru_weight_ih": torch.cat([torch.zeros(2 * state, hidden), SMALL * move]),
            "gru_weight_hh": torch.zeros(3 * state, state),
            "gru_bias_ih": gates,
            "gru_bias_hh": torch.zeros(3 * state),
        }
    difference = torch.cat([torch.eye(dims), -torch.eye(dims)], dim=1)  # position - goal
    reward = torch.zeros(2 * dims, (state if recurrent else 0) + state)
    reward[:dims, -state:], reward[dims:, -state:] = difference, -difference
    return RolloutWeights(
        transition=transition,
        input_weight=split,
        input_bias=torch.zeros(hidden),
        **gru,
        prior_hidden_weight=prior_hidden,
        prior_hidden_bias=torch.zeros(hidden),
        prior_weight=prior,
        prior_bias=torch.cat([torch.zeros(state), raw_stddev]),
        reward_weights=[reward, -torch.ones(1, 2 * dims)],
        reward_biases=[torch.zeros(2 * dims), torch.zeros(1)],
        min_stddev=0.0,
    )


def linear_latent(position: Tensor, goal: Tensor, transition: str = "rssm") -> LatentState:
    """Start latents of positions and goals [B, dims]."""
    state = torch.cat([position, goal], dim=1)
    return LatentState(torch.zeros_like(state) if transition == "rssm" else state[:, :0], state)


def best_plan(position: Tensor, goal: Tensor, horizon: int) -> Tensor:
    """The optimal actions [H, B, dims] without noise: full speed, the rest, then stay."""
    actions = []
    for _ in range(horizon):
        action = ((goal - position) / GAIN).clamp(-1.0, 1.0)
        position = position + GAIN * action
        actions.append(action)
    return torch.stack(actions)


def best_return(position: Tensor, goal: Tensor, horizon: int) -> Tensor:
    """The optimal return [B] without noise."""
    total = torch.zeros(len(position))
    for action in best_plan(position, goal, horizon):
        position = position + GAIN * action
        total -= (position - goal).abs().sum(dim=1)
    return total
