"""Models as other code bases publish them, in plain torch: layer shapes and forward passes.

`PlaNetTransition` and `PlaNetReward` have the layers of Kaixhin/PlaNet; `DreamerPrior` those of
TorchRL's RSSMPrior, with either of its mappings to a stddev. `reward_mlp` reads the state first, as
TorchRL's examples do.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

BELIEF, STATE, ACTION = 200, 30, 6


class PlaNetTransition(nn.Module):
    """Steps through actions [T, N, A]; relu, stddev = softplus(raw) + 0.1."""

    def __init__(self) -> None:
        super().__init__()
        self.fc_embed_state_action = nn.Linear(STATE + ACTION, BELIEF)
        self.rnn = nn.GRUCell(BELIEF, BELIEF)
        self.fc_embed_belief_prior = nn.Linear(BELIEF, BELIEF)
        self.fc_state_prior = nn.Linear(BELIEF, 2 * STATE)
        self.min_std_dev = 0.1

    def forward(self, state: Tensor, actions: Tensor, belief: Tensor) -> list[Tensor]:
        """Beliefs, sampled states, means and stddevs, each [T, N, ...]."""
        steps = []
        for action in actions:
            hidden = F.relu(self.fc_embed_state_action(torch.cat([state, action], dim=1)))
            belief = self.rnn(hidden, belief)
            hidden = F.relu(self.fc_embed_belief_prior(belief))
            mean, raw = self.fc_state_prior(hidden).chunk(2, dim=1)
            stddev = F.softplus(raw) + self.min_std_dev
            state = mean + stddev * torch.randn_like(mean)
            steps.append((belief, state, mean, stddev))
        return [torch.stack(parts) for parts in zip(*steps, strict=True)]


class PlaNetReward(nn.Module):
    """Three layers on belief and state."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1 = nn.Linear(BELIEF + STATE, BELIEF)
        self.fc2 = nn.Linear(BELIEF, BELIEF)
        self.fc3 = nn.Linear(BELIEF, 1)

    def forward(self, belief: Tensor, state: Tensor) -> Tensor:
        """Rewards [N]."""
        hidden = F.relu(self.fc1(torch.cat([belief, state], dim=1)))
        return self.fc3(F.relu(self.fc2(hidden))).squeeze(1)


class DreamerPrior(nn.Module):
    """ELU; the stddev is clamped at `scale_lb`.

    mapping "softplus", or "biased_softplus_1.0": softplus(raw + c) + 0.01, which is 1 for raw = 0.
    """

    def __init__(self, mapping: str = "softplus", scale_lb: float = 0.1) -> None:
        super().__init__()
        self.action_state_projector = nn.Sequential(nn.Linear(STATE + ACTION, BELIEF), nn.ELU())
        self.rnn = nn.GRUCell(BELIEF, BELIEF)
        layers = nn.Linear(BELIEF, BELIEF), nn.ELU(), nn.Linear(BELIEF, 2 * STATE)
        self.rnn_to_prior_projector = nn.Sequential(*layers)
        self.biased, self.scale_lb = mapping == "biased_softplus_1.0", scale_lb
        self.bias = math.log(math.expm1(1.0 - 0.01)) if self.biased else 0.0

    def forward(
        self, state: Tensor, belief: Tensor, action: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Mean, stddev, a sampled state and the belief."""
        hidden = self.action_state_projector(torch.cat([state, action], dim=-1))
        belief = self.rnn(hidden, belief)
        mean, raw = self.rnn_to_prior_projector(belief).chunk(2, dim=-1)
        stddev = F.softplus(raw + self.bias) + (0.01 if self.biased else 0.0)
        stddev = stddev.clamp_min(self.scale_lb)
        return mean, stddev, mean + torch.randn_like(stddev) * stddev, belief


def reward_mlp() -> nn.Sequential:
    """ELU on [state, belief]."""
    return nn.Sequential(
        nn.Linear(STATE + BELIEF, 100), nn.ELU(), nn.Linear(100, 50), nn.ELU(), nn.Linear(50, 1)
    )
