"""New weights under a captured step: the graph is kept, and nobody's snapshot changes."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from acting.captures import DEVICES, Captures, InterruptedGraph, trace
from agents import MakeAgent, latent_of, play, small_agent
from conftest import EACH_BACKEND, FUSED_MISSING, fused_is_built
from ops.cuda import emulated
from ops.fused_support import KERNELS, isa
from small_models import frame, make_model
from torch import Tensor

from planet.acting.agent import Agent
from planet.acting.cuda_graph import Graph
from planet.acting.static_snapshot import StaticSnapshot
from planet.models import WorldModel
from planet.ops import fused
from planet.planning import Imagination


def learn(model: WorldModel) -> None:
    """Changes all parameters in place, as an optimiser does."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(-0.9)


def equal(one: list[Tensor], other: list[Tensor]) -> bool:
    return all(torch.equal(left, right) for left, right in zip(one, other, strict=True))


def check_episodes(agent: Agent, captures: Captures, **how: Any) -> None:
    """After every update the agent acts as a new one, eager or captured, and captures nothing."""
    seen = []
    for _ in range(5):
        learn(agent.world_model)
        agent.update_weights()
        agent.exploration_stddev = 0.3
        seen.append(list(trace(agent, 2)))
        assert captures.count == 4  # filter, plan, and both with and without exploration
        for capture in (False, True):
            assert equal(seen[-1], list(trace(small_agent(capture, agent.world_model, **how), 2)))
        captures.count = 4
    assert not equal(seen[0], seen[2])


@EACH_BACKEND
@pytest.mark.parametrize("device", DEVICES)
def test_a_graph_serves_all_episodes_of_a_run(
    device: str, backend: str, captures: Captures
) -> None:
    if device == "cuda" and backend == "reference":
        pytest.skip("the reference cannot be captured")
    agent = small_agent(model=make_model().to(device), backend=backend)
    check_episodes(agent, captures, backend=backend)


@pytest.mark.parametrize(("name", "precision"), KERNELS)
def test_a_graph_in_every_precision_does_too(name: str, precision: str, captures: Captures) -> None:
    how = {"backend": "fused", "precision": precision}
    with isa(name):
        check_episodes(small_agent(**how), captures, **how)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
def test_a_graph_of_emulated_kernels_does_too(
    precision: str, captures: Captures, monkeypatch: pytest.MonkeyPatch
) -> None:
    emulated.stand_in(monkeypatch)
    how = {"backend": "fused", "precision": precision}
    agent = small_agent(**how)
    for episode in range(3):
        learn(agent.world_model)
        agent.update_weights()
        agent.reset(episode)
        actions = play(agent, 2)
        assert captures.count == 1
        fresh = small_agent(False, agent.world_model, **how)
        fresh.reset(episode)
        assert play(fresh, 2) == actions


@EACH_BACKEND
def test_snapshots_and_imaginations_that_others_hold_stay_frozen(backend: str) -> None:
    agent = small_agent(backend=backend)
    agent.reset(3)
    agent.act(frame(0))
    held, imagination = agent.weights, agent.imagination.at(latent_of(agent))
    before = [tensor.clone() for tensor in held.named_tensors().values()]
    plan = agent.planner.plan(imagination, 5)
    learn(agent.world_model)
    agent.update_weights()
    agent.act(frame(1))
    assert equal(before, list(held.named_tensors().values()))
    again = agent.planner.plan(imagination, 5)
    assert torch.equal(plan.mean, again.mean) and torch.equal(plan.best_return, again.best_return)
    newer = agent.planner.plan(agent.imagination.at(imagination.latent), 5)
    assert not torch.equal(plan.mean, newer.mean)


@EACH_BACKEND
def test_another_agent_of_the_model_keeps_its_snapshot(backend: str) -> None:
    model = make_model()
    one, other, alone = (small_agent(True, model, backend=backend) for _ in range(3))
    for agent in (one, other, alone):
        agent.reset(1)
        agent.act(frame(0))
    learn(model)
    one.update_weights()
    one.act(frame(1))
    assert np.array_equal(other.act(frame(1)), alone.act(frame(1)))


@EACH_BACKEND
@pytest.mark.parametrize(
    "twin_of", [copy.copy, copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))]
)
def test_copies_have_a_step_of_their_own(twin_of: Callable[[Agent], Agent], backend: str) -> None:
    agent = small_agent(backend=backend)
    agent.reset(1)
    agent.act(frame(0))
    learn(agent.world_model)
    agent.update_weights()
    agent.act(frame(1))
    twin, third = twin_of(agent), twin_of(agent)
    assert np.array_equal(twin.act(frame(2)), agent.act(frame(2)))
    kept = twin.weights
    with torch.no_grad():
        for weight in agent.world_model.reward_model.weights:
            weight.mul_(-2.0)
    agent.update_weights()
    agent.act(frame(3))
    third.act(frame(2))
    assert twin.weights is kept
    assert np.array_equal(twin.act(frame(3)), third.act(frame(3)))


@pytest.mark.parametrize("moment", ["copied", "packed"])
def test_an_interrupt_while_weights_are_written_does_no_harm(
    moment: str, captures: Captures, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not fused_is_built():
        pytest.skip(FUSED_MISSING)
    agent = small_agent(backend="fused")
    agent.reset(2)
    agent.act(frame(0))
    learn(agent.world_model)
    agent.update_weights()
    undisturbed = copy.deepcopy(agent)
    expected = play(undisturbed)

    def interrupted(*arguments: Any) -> None:
        if moment == "packed":
            repack(*arguments)
        raise KeyboardInterrupt

    repack = fused.repack
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(fused, "repack", interrupted)
        agent.act(frame(0))
    assert play(agent) == expected


def test_weights_that_are_refused_leave_the_old_ones() -> None:
    agent, undisturbed = small_agent(), small_agent()
    for each in (agent, undisturbed):
        each.reset(2)
        each.act(frame(0))
    bias, held = agent.world_model.reward_model.layers[-1].bias, agent.weights
    with torch.no_grad():
        bias.fill_(torch.nan)
    with pytest.raises(ValueError, match="expected finite values"):
        agent.update_weights()
    assert agent.weights is held
    with torch.no_grad():
        bias.copy_(undisturbed.world_model.reward_model.layers[-1].bias)
    assert play(agent) == play(undisturbed)


@pytest.mark.parametrize("inside", [False, True])
@EACH_BACKEND
def test_inference_mode_may_begin_or_end_between_updates(backend: str, inside: bool) -> None:
    agent = small_agent(backend=backend)
    agent.reset(2)
    with torch.inference_mode(inside):
        agent.act(frame(0))
    learn(agent.world_model)
    with torch.inference_mode(inside):
        agent.update_weights()
    with torch.inference_mode(not inside):
        got = agent.act(frame(1))
    eager = small_agent(False, backend=backend)
    eager.reset(2)
    eager.act(frame(0))
    learn(eager.world_model)
    eager.update_weights()
    assert np.array_equal(got, eager.act(frame(1)))


def test_a_step_under_way_is_waited_for_before_weights_are_written(
    captures: Captures, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []

    class Watched(InterruptedGraph):
        def wait(self) -> None:
            done.append("wait")

    def make(body: Callable[[], None], device: torch.device) -> Graph:
        return Watched(body)

    captures.make = make
    agent = small_agent()
    agent.reset()
    agent.act(frame(0))
    agent.filter(frame(1))
    agent.update_weights()
    write = StaticSnapshot.write
    monkeypatch.setattr(
        StaticSnapshot, "write", lambda *given: (done.append("write"), write(*given))
    )
    del done[:]
    agent.act(frame(1))
    assert done[:3] == ["wait", "wait", "write"]
    assert done.count("write") == 1
    agent.act(frame(2))
    assert done.count("write") == 1
    agent.planner = replace(agent.planner, iterations=1)
    del done[:]
    agent.act(frame(3))
    assert done[:2] == ["wait", "wait"], "before its buffers are given back"


def test_a_graph_is_kept_wherever_the_parameters_lie(captures: Captures) -> None:
    agents = [small_agent(capture) for capture in (True, False)]
    actions = []
    for agent in agents:
        agent.reset(1)
        agent.act(frame(0))
        for parameter in agent.world_model.parameters():
            parameter.data = parameter.data * -0.9
        agent.update_weights()
        actions.append(agent.act(frame(1)))
    assert captures.count == 1
    assert np.array_equal(*actions)


@EACH_BACKEND
def test_parameters_that_change_in_place_act_after_the_next_snapshot(
    make_agent: MakeAgent, backend: str
) -> None:
    """Encoder and posterior among them: the agent filters by its snapshot, too."""
    undisturbed, agent = make_agent(backend=backend), make_agent(backend=backend)
    for each in (undisturbed, agent):
        each.reset(2)
        each.act(frame(0))
    learn(agent.world_model)
    assert play(agent) == play(undisturbed)
    assert torch.equal(latent_of(agent).features, latent_of(undisturbed).features)
    agent.update_weights()
    agent.filter(frame(1))
    undisturbed.filter(frame(1))
    assert not torch.equal(latent_of(agent).features, latent_of(undisturbed).features)


@pytest.mark.parametrize("sizes", [{"belief_size": 6}, {"state_size": 1}, {"action_size": 1}])
def test_a_model_of_other_sizes_needs_a_reset(make_agent: MakeAgent, sizes: dict[str, int]) -> None:
    agent = make_agent()
    agent.reset(1)
    agent.act(frame(0))
    agent.world_model = make_model(**sizes)
    agent.act(frame(1))
    agent.update_weights()
    with pytest.raises(RuntimeError, match=r"call reset\(\) before the first observation"):
        agent.act(frame(2))
    agent.reset(1)
    agent.act(frame(2))


def test_only_a_snapshot_of_the_same_form_is_held() -> None:
    snapshot, latent = make_model().filter_weights(), make_model().initial(2)
    weights = snapshot.rollout
    how: dict[str, Any] = {"backend": "reference", "low": [-1.0, -0.5]}
    static = StaticSnapshot(snapshot, Imagination(weights, latent, **how))
    newer = Imagination(weights, latent, **how | {"low": [-2.0, -1.0]})
    assert static.holds(snapshot, newer)
    static.write(snapshot, newer)
    assert torch.equal(static.imagination.low, newer.low)
    others = [
        {"discount": 0.9},
        {"state_noise": False},
        {"precision": "bf16"},
        {"low": [[-1.0] * 2] * 2},
    ]
    for other in others:
        assert not static.holds(snapshot, Imagination(weights, latent, **how | other))
    assert not static.holds(snapshot, Imagination(weights, make_model().initial(1), **how))
    for changed in (
        replace(snapshot, rollout=replace(weights, min_stddev=0.2)),
        replace(snapshot, rollout=replace(weights, activation="elu")),
        replace(snapshot, bit_depth=4),
        make_model(encoder_channels=(4, 8)).filter_weights(),
        make_model(hidden_size=8).filter_weights(),
    ):
        assert not static.holds(changed, Imagination(changed.rollout, latent, **how))
