"""The recurrent state-space model: it owns the parameters, `planet.ops.equations` the equations."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from planet.config import ModelConfig
from planet.latent import Gaussian, LatentState
from planet.ops.equations import activate, gaussian_head, next_belief, prior
from planet.protocols import Filtered


class RSSM(nn.Module):
    """Deterministic GRU path and stochastic Gaussian path of Hafner et al. (ICML 2019), Section 3.

    Time convention: index t holds the observation, the action that LED to it and the reward on
    arrival; index 0 is the reset frame, reached from a zero latent with a zero action.

          action[t]                              action[t+1]
              |                                      |
        s[t-1], h[t-1] --> h[t] --> prior s[t]   --> h[t+1] --> prior s[t+1]
                            |                         |
                            +-- o[t] --> posterior    +-- o[t+1] --> posterior
                                          s[t]                        s[t+1]
                            |                         |
                         reward[t]                 reward[t+1]

    Args:
      config: sizes S, D, M, activation, stddev floor and initialisation.
      action_size: A.
      embedding_size: E.
    """

    def __init__(self, config: ModelConfig, action_size: int, embedding_size: int) -> None:
        super().__init__()
        state, belief, hidden = config.state_size, config.belief_size, config.hidden_size
        self.state_size, self.belief_size, self.action_size = state, belief, action_size
        self.activation: str = config.activation
        self.stddev = "add"  # min_stddev is added
        self.min_stddev = config.min_stddev
        float32: Any = {"dtype": torch.float32}  # whatever the default is: the planner's arithmetic
        self.input = nn.Linear(state + action_size, hidden, **float32)
        self.gru = nn.GRUCell(hidden, belief, **float32)  # only its parameters are used
        self.prior_hidden = nn.Linear(belief, hidden, **float32)
        self.prior_head = nn.Linear(hidden, 2 * state, **float32)
        self.posterior_hidden = nn.Linear(belief + embedding_size, hidden, **float32)
        self.posterior_head = nn.Linear(hidden, 2 * state, **float32)

    # The names that `planet.ops.equations` knows the parameters by.
    input_weight = property(lambda self: self.input.weight)
    input_bias = property(lambda self: self.input.bias)
    gru_weight_ih = property(lambda self: self.gru.weight_ih)
    gru_weight_hh = property(lambda self: self.gru.weight_hh)
    gru_bias_ih = property(lambda self: self.gru.bias_ih)
    gru_bias_hh = property(lambda self: self.gru.bias_hh)
    prior_hidden_weight = property(lambda self: self.prior_hidden.weight)
    prior_hidden_bias = property(lambda self: self.prior_hidden.bias)
    prior_weight = property(lambda self: self.prior_head.weight)
    prior_bias = property(lambda self: self.prior_head.bias)

    def initial(self, batch: int) -> LatentState:
        """Returns the zero latent before an episode: belief [B, D], state [B, S]."""
        zeros = self.input.weight.new_zeros
        return LatentState(zeros(batch, self.belief_size), zeros(batch, self.state_size))

    def transition(self, latent: LatentState, action: Tensor) -> tuple[Tensor, Gaussian]:
        """Advances latents by an action; see `planet.protocols.Dynamics`."""
        belief = next_belief(self, latent, action)
        return belief, prior(self, belief)

    def filter_chunk(self, embedding: Tensor, action: Tensor, noise: Tensor) -> Filtered:
        """Filters a whole chunk from the zero latent.

        q(s_t | h_t, o_t) is a hidden layer on belief and embedding, and a Gaussian head. Whatever
        does not depend on the recurrence is computed for all time steps at once: the embedding's
        share of the posterior's hidden layer, and all priors.

        Args:
          embedding: [T, B, E].
          action: [T, B, A]; action[t] led to observation t.
          noise: standard normal [T, B, S].

        Returns:
          Filtered over [T, B, ...].
        """
        layer = self.posterior_hidden
        weight_belief = layer.weight[:, : self.belief_size]
        share = F.linear(embedding, layer.weight[:, self.belief_size :], layer.bias)
        latent = self.initial(embedding.shape[1])
        beliefs, states, means, stddevs = [], [], [], []
        for t in range(embedding.shape[0]):
            belief = next_belief(self, latent, action[t])
            hidden = activate(share[t] + F.linear(belief, weight_belief), self.activation)
            posterior = self._posterior(hidden)
            latent = LatentState(belief, posterior.sample(noise[t]))
            beliefs.append(belief)
            states.append(latent.state)
            means.append(posterior.mean)
            stddevs.append(posterior.stddev)
        belief = torch.stack(beliefs)
        return Filtered(
            latent=LatentState(belief, torch.stack(states)),
            prior=prior(self, belief),
            posterior=Gaussian(torch.stack(means), torch.stack(stddevs)),
        )

    def _posterior(self, hidden: Tensor) -> Gaussian:
        head = self.posterior_head
        return gaussian_head(hidden, head.weight, head.bias, self.min_stddev, self.stddev)
