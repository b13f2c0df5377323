"""The captured control step has the eager one's results."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from acting.captures import DEVICES, trace
from agents import MakeAgent, belief_after, latent_of, small_agent
from conftest import EACH_BACKEND
from ops.cuda import emulated
from ops.tolerances import NORMAL_ABSOLUTE, NORMAL_RELATIVE, close
from small_models import frame, make_model
from torch import Tensor

from planet import noise
from planet.latent import LatentState
from planet.noise import row_seeds
from planet.ops import draws
from planet.ops.kernels import KERNELS, CpuKernels, CudaKernels


@pytest.mark.parametrize("batch", [1, 5])
@EACH_BACKEND
@pytest.mark.parametrize("device", DEVICES)
def test_captured_and_eager_agree_bit_for_bit(device: str, backend: str, batch: int) -> None:
    if device == "cuda" and backend == "reference":
        pytest.skip("the reference cannot be captured")
    agents = [
        small_agent(capture, make_model().to(device), backend=backend) for capture in (False, True)
    ]
    traces = [list(trace(agent, batch)) for agent in agents]
    assert len(traces[0]) == len(traces[1]) > 50
    for eager, captured in zip(*traces, strict=True):
        assert torch.equal(eager, captured)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("planner", "precision"), [("cem", "fp32"), ("cem", "fp16"), ("icem", "fp32"), ("mppi", "fp32")]
)
def test_captured_and_eager_agree_on_emulated_kernels(
    planner: str, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The CUDA path to its end: draws and plans by the kernels that a GPU would run."""
    emulated.stand_in(monkeypatch)
    traces = []
    for capture in (False, True):
        agent = small_agent(capture, backend="fused", precision=precision, planner=planner)
        agent.reset(row_seeds(7, 2))
        actions = [agent.act(frame(t, 2), explore=t == 1).tolist() for t in range(3)]
        traces.append([actions, latent_of(agent).belief.tolist()])
    assert traces[0] == traces[1]


def test_draws_of_a_device_are_those_of_the_specification(monkeypatch: pytest.MonkeyPatch) -> None:
    """Asks kernels where they are had; their own test compares them (ops/cuda)."""
    seeds = torch.tensor([3, -5])
    which = {"stream": 3, "time": 7}
    expected = noise.normals(seeds, 6, 2, **which)
    assert close(draws.normals(seeds, 6, 2, **which), expected, NORMAL_ABSOLUTE, NORMAL_RELATIVE)
    monkeypatch.setitem(KERNELS, "cpu", CpuKernels(None))
    assert draws.normals(seeds, 6, 2, **which).equal(expected)

    class Kernels(CudaKernels):
        asked: list[tuple[object, ...]] = []

        def ready(self) -> bool:
            return True

        def call(self, op: str, *arguments: object) -> Tensor:
            self.asked.append((op, *arguments[1:]))
            return torch.ones(2, 6, 2)

    monkeypatch.setitem(KERNELS, "cpu", Kernels(None))
    draws.normals(seeds, 6, 2, **which)
    assert Kernels.asked == [("normals", 6, 2, 3, 7, 0, 0, None)]


@pytest.mark.parametrize("device", DEVICES)
def test_a_new_snapshot_is_planned_with(device: str) -> None:
    backend = "reference" if device == "cpu" else "fused"
    plans = []
    for capture in (False, True):
        model = make_model().to(device)
        agent = small_agent(capture, model, backend=backend)
        agent.reset()
        agent.act(frame(0))
        with torch.no_grad():
            for weight in model.reward_model.weights:
                weight.mul_(-2.0)
        agent.update_weights()
        agent.act(frame(1))
        assert agent.planned is not None
        plans.append(agent.planned.mean)
    assert torch.equal(*plans)


def test_acting_in_inference_mode_changes_nothing(make_agent: MakeAgent) -> None:
    agents = [make_agent(), make_agent()]
    for agent in agents:
        agent.reset(1)
    with torch.inference_mode():
        first = agents[0].act(frame(0))
        agents[0].executed(first)
        latent = latent_of(agents[0])
    assert np.array_equal(first, agents[1].act(frame(0)))
    assert torch.equal(latent.features, latent_of(agents[1]).features)
    assert np.array_equal(agents[0].act(frame(1)), agents[1].act(frame(1)))
    with torch.inference_mode():
        agents[0].filter(frame(2))
    agents[1].filter(frame(2))
    assert np.array_equal(agents[0].act(frame(3)), agents[1].act(frame(3)))


# ---- What is handed out --------------------------------------------------------------------------


def test_results_stay_as_they_were_handed_out(make_agent: MakeAgent) -> None:
    agent = make_agent()
    agent.reset()
    agent.act(frame(0))
    assert agent.latent is not None and agent.planned is not None
    kept = [agent.latent.belief, agent.latent.state, agent.planned.action, agent.planned.mean]
    before = [tensor.clone() for tensor in kept]
    for t in range(1, 3):
        agent.act(frame(t))
    agent.filter(frame(3))
    agent.plan()
    assert all(torch.equal(left, right) for left, right in zip(kept, before, strict=True))
    assert not torch.equal(agent.latent.belief, before[0])


def test_another_latent_can_be_assigned(make_agent: MakeAgent) -> None:
    agent, other = make_agent(), make_agent()
    agent.reset(3)
    agent.act(frame(0))
    latent = latent_of(agent)
    agent.latent = LatentState(latent.belief * 0.5, latent.state + 1.0)
    agent.executed([0.5, -0.5])
    expected = belief_after(agent, torch.tensor([[0.5, -0.5]]))
    agent.act(frame(1))
    torch.testing.assert_close(latent_of(agent).belief, expected)
    other.reset(3)
    other.act(frame(0))
    other.latent = LatentState(latent.belief * 0.5, latent.state + 1.0)
    other.executed([0.5, -0.5])
    assert np.array_equal(agent.act(frame(2)), [other.act(frame(t)) for t in (1, 2)][1])
