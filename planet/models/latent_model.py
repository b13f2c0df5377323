"""The latent model: it owns the parameters, `planet.ops.equations` the equations."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from planet.config import ModelConfig
from planet.latent import Gaussian, LatentState, stacked
from planet.ops.equations import activate, gaussian, gru_cell, input_layer
from planet.protocols import Filtered


class LatentModel(nn.Module):
    """Advances latents by actions, and corrects them by what is observed.

    Four designs of Hafner et al. (ICML 2019), Section 3, and one more are settings of it:

        design            transition  stochastic  posterior
        RSSM              rssm        yes         filter    q(s | h, o)
        SSM               ssm         yes         filter    q(s | prior of s, o)
        RNN               rssm        no          filter    s = m(h, o)
        encoder           either      either      encoder   s = g(o)

    "rssm" has a deterministic path h, a GRU; "ssm" has none, D = 0, and its prior reads the input
    layer. Without stochastic states means are followed, and stddevs are 0. The SSM's posterior
    reads mean and stddev of the prior (official code, models/ssm.py).

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
      config: design, sizes S, D, M, activation, stddev floor and initialisation.
      action_size: A.
      embedding_size: E.
    """

    def __init__(self, config: ModelConfig, action_size: int, embedding_size: int) -> None:
        super().__init__()
        state, belief, hidden = config.state_size, config.belief, config.hidden_size
        self.state_size, self.belief_size, self.action_size = state, belief, action_size
        self.stochastic, self.encodes = config.stochastic, config.posterior == "encoder"
        self.activation: str = config.activation
        self.stddev = "add"  # min_stddev is added
        self.min_stddev = config.min_stddev
        float32: Any = {"dtype": torch.float32}  # whatever the default is: the planner's arithmetic
        numbers = 2 if config.stochastic else 1  # of a state's dimension: mean and raw stddev
        self.input = nn.Linear(state + action_size, hidden, **float32)
        self.gru = nn.GRUCell(hidden, belief, **float32) if belief else None
        self.prior_hidden = nn.Linear(belief or hidden, hidden, **float32)
        self.prior_head = nn.Linear(hidden, numbers * state, **float32)
        # What a posterior reads beside the embedding.
        self.context_size = 0 if self.encodes else belief or numbers * state
        self.posterior_hidden = nn.Linear(self.context_size + embedding_size, hidden, **float32)
        numbers = 1 if self.encodes else numbers
        self.posterior_head = nn.Linear(hidden, numbers * state, **float32)

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
    posterior_weight = property(lambda self: self._whole(self.posterior_head.weight))
    posterior_bias = property(lambda self: self._whole(self.posterior_head.bias))

    @property
    def compiled_filter(self) -> bool:
        """Whether the compiled core has this design's filter: with a belief, and no encoder."""
        return self.gru is not None and not self.encodes

    def initial(self, batch: int) -> LatentState:
        """Returns the zero latent before an episode: belief [B, D], state [B, S]."""
        zeros = self.input.weight.new_zeros
        return LatentState(zeros(batch, self.belief_size), zeros(batch, self.state_size))

    def transition(self, latent: LatentState, action: Tensor) -> tuple[Tensor, Gaussian]:
        """Advances latents by an action; see `planet.protocols.Dynamics`."""
        belief, source = self._next(latent, action)
        return belief, self._prior(source)

    def filter_chunk(
        self, embedding: Tensor, action: Tensor, noise: Tensor, start: LatentState | None = None
    ) -> Filtered:
        """Filters a whole chunk.

        Whatever does not depend on the recurrence is computed for all time steps at once: the
        embedding's share of the posterior's hidden layer, and where they can be, priors and states.

        Args:
          embedding: [T, B, E].
          action: [T, B, A]; action[t] led to observation t.
          noise: standard normal [T, B, S]; only stochastic states of a filter read it.
          start: latent before the chunk, [B, D] and [B, S]; None: the zero latent.

        Returns:
          Filtered over [T, B, ...].
        """
        start = self.initial(embedding.shape[1]) if start is None else start
        of_context, of_embedding = self.posterior_weights()
        share = F.linear(embedding, of_embedding, self.posterior_hidden.bias)
        if self.encodes:
            return self._encoded(share, action, start)
        latent, latents, sources, posteriors = start, [], [], []
        for t in range(embedding.shape[0]):
            belief, source = self._next(latent, action[t])
            context = self._context(belief, source)
            posterior = self._posterior(share[t] + F.linear(context, of_context))
            latent = LatentState(belief, posterior.sample(noise[t]))
            latents.append(latent)
            sources.append(source)
            posteriors.append(posterior)
        prior = self._prior(torch.stack(sources))
        return Filtered(stacked(latents), prior, stacked(posteriors))

    def posterior_weights(self) -> tuple[Tensor, Tensor]:
        """Splits the weight of the posterior's hidden layer.

        Returns:
          What reads the belief, or without a deterministic path the prior, [M, D], and what reads
          the embedding, [M, E].
        """
        weight = self.posterior_hidden.weight
        return weight[:, : self.context_size], weight[:, self.context_size :]

    def _context(self, belief: Tensor, source: Tensor) -> Tensor:
        """Returns what a filter's posterior reads beside the embedding, [..., D], 2 S or S."""
        if self.gru is not None:
            return belief
        prior = self._prior(source)
        parts = [prior.mean, prior.stddev] if self.stochastic else [prior.mean]
        return torch.cat(parts, dim=-1)

    def _posterior(self, hidden: Tensor) -> Gaussian:
        return self.gaussian(self.posterior_head(activate(hidden, self.activation)))

    def _encoded(self, share: Tensor, action: Tensor, start: LatentState) -> Filtered:
        """Filters by an encoder, which sees one observation at a time."""
        state = self.posterior_head(activate(share, self.activation))
        before = torch.cat([start.state[None], state[:-1]])
        if self.gru is None:
            belief, source = self._next(LatentState(state[..., :0], before), action)
        else:
            belief, beliefs = start.belief, []
            for t in range(len(state)):
                belief, _ = self._next(LatentState(belief, before[t]), action[t])
                beliefs.append(belief)
            belief = source = torch.stack(beliefs)
        posterior = Gaussian(state, torch.zeros_like(state))
        return Filtered(LatentState(belief, state), self._prior(source), posterior)

    def _next(self, latent: LatentState, action: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the belief [..., D] after an action, and what the prior reads."""
        x = input_layer(self, latent.state, action)
        if self.gru is None:
            return latent.belief, x
        gates = self.gru_weight_ih, self.gru_weight_hh, self.gru_bias_ih, self.gru_bias_hh
        belief = gru_cell(x, latent.belief, *gates)
        return belief, belief

    def gaussian(self, output: Tensor) -> Gaussian:
        """Makes a Gaussian [..., S] of what a head gives, [..., 2S], or [..., S] of means alone."""
        if self.stochastic:
            return gaussian(output, self.min_stddev, self.stddev)
        return Gaussian(output, torch.zeros_like(output))

    def _whole(self, rows: Tensor) -> Tensor:
        """Returns rows of means and raw stddevs; the latter are 0 where a state is its mean."""
        return rows if self.stochastic else torch.cat([rows, torch.zeros_like(rows)])

    def _prior(self, source: Tensor) -> Gaussian:
        return self.gaussian(self.prior_head(activate(self.prior_hidden(source), self.activation)))
