"""A step that is not finite is an error at the agent, which stays as it was."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from agents import MakeAgent, latent_of, play
from conftest import EACH_BACKEND
from small_models import frame

from planet.acting.agent import Agent
from planet.latent import LatentState
from planet.noise import row_seeds


def spoil(agent: Agent, what: str) -> None:
    """Makes one number NaN or infinite, where nobody checks."""
    if what in ("belief", "state"):
        spoilt = getattr(agent.latent, what).clone()
        spoilt[1, 0] = float("nan")
        spoilt = replace(latent_of(agent), **{what: spoilt})
        agent._moment = replace(agent._require_reset().frozen(), latent=spoilt)
    elif what == "encoder":  # finite, but its embeddings are not
        huge = [weight / weight.abs().max() * 3e38 for weight in agent.weights.encoder_weights]
        agent._weights, agent._imagination = replace(agent.weights, encoder_weights=huge), None
    elif what == "reward":
        rollout = agent.weights.rollout
        huge = [weight / weight.abs().max() * 3e38 for weight in rollout.reward_weights]
        rollout = replace(rollout, reward_weights=huge)
        agent._weights, agent._imagination = replace(agent.weights, rollout=rollout), None


NOT_FINITE = {
    "belief": r"^latent: expected a finite belief, got NaN or infinite in rows \[1\]; reset\(\)",
    "state": r"^latent: expected a finite state, got NaN or infinite in rows \[1\]; reset\(\)",
    "encoder": r"^latent after the observation: expected a finite state, .* in rows \[0, 1\]",
    "reward": r"^plan: expected finite returns and actions, got NaN or infinite in rows \[0, 1\]",
}


@pytest.mark.parametrize("what", NOT_FINITE)
@EACH_BACKEND
def test_a_step_that_is_not_finite_is_an_error_and_not_an_action(
    make_agent: MakeAgent, what: str, backend: str
) -> None:
    agent = make_agent(backend=backend)
    agent.reset(row_seeds(0, 2))
    agent.act(frame(0, 2))
    spoil(agent, what)
    latent, planned, moment = agent.latent, agent.planned, agent._moment
    calls = {
        "act": lambda: agent.act(frame(1, 2)), "explore": lambda: agent.act(frame(1, 2), True),
        "filter": lambda: agent.filter(frame(1, 2)), "plan": agent.plan,
    }  # fmt: skip
    silent = {"reward": "filter", "encoder": "plan"}.get(what)  # have no part in it
    for name, call in calls.items():
        if name != silent:
            with pytest.raises(ValueError, match=NOT_FINITE[what]):
                call()
            assert agent.latent is latent
            assert agent.planned is planned
            assert agent._moment is moment


def test_parameters_that_are_not_finite_make_no_snapshot(make_agent: MakeAgent) -> None:
    agent, undisturbed = make_agent(), make_agent()
    for each in (agent, undisturbed):
        each.reset()
        each.act(frame(0))
    held = agent.weights
    with torch.no_grad():
        agent.world_model.encoders["image"].layers[0].bias[0] = float("inf")
    with pytest.raises(ValueError, match=r"^encoder_biases\[0\]: expected finite values, got 1"):
        agent.update_weights()
    assert agent.weights is held
    assert play(agent) == play(undisturbed)


def test_a_row_that_is_not_finite_can_be_restarted(make_agent: MakeAgent) -> None:
    agent = make_agent()
    agent.reset(row_seeds(0, 2))
    agent.act(frame(0, 2))
    spoil(agent, "belief")
    with pytest.raises(ValueError, match="latent"):
        agent.act(frame(1, 2))
    agent.reset(rows=[1])
    assert np.isfinite(agent.act(frame(1, 2))).all()


def test_an_assigned_latent_is_checked(make_agent: MakeAgent) -> None:
    agent = make_agent()
    good = agent.world_model.initial(2)
    with pytest.raises(RuntimeError, match="call reset"):
        agent.latent = good
    agent.reset(row_seeds(0, 2))
    agent.latent = good
    held = agent.latent
    for bad, message in (
        (None, "latent: expected LatentState, got NoneType"),
        (LatentState(good.belief[:1], good.state), r"latent.belief: expected shape \[2, 5\]"),
        (LatentState(good.belief.double(), good.state), "latent.belief: expected torch.float32"),
        (LatentState(good.belief, good.state + float("inf")), "latent: expected a finite state"),
        (LatentState(good.belief[:, None], good.state[:, None]),
         r"latent.belief: expected shape \[B, D\], got \[2, 1, 5\]"),
    ):  # fmt: skip
        with pytest.raises((TypeError, ValueError), match=message):
            agent.latent = bad  # type: ignore[assignment]
        assert agent.latent is held
