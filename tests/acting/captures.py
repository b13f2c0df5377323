"""Captures that are counted, and graphs that are stand-ins."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from small_models import frame
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from planet.acting import captured_step
from planet.acting.agent import Agent
from planet.acting.cuda_graph import Graph
from planet.noise import row_seeds

DEVICES = [
    "cpu",
    pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")),
]


class Captures:
    """Notes every capture, and makes graphs through `make`."""

    def __init__(self) -> None:
        self.count = 0
        self.make: Callable[..., Graph] = captured_step.capture

    def __call__(self, body: Callable[[], None], device: torch.device) -> Graph:
        self.count += 1
        return self.make(body, device)


def trace(agent: Agent, batch: int) -> Iterator[Tensor]:
    """Everything that an agent gives out in an eventful episode."""
    agent.reset(row_seeds(7, batch))
    for t in range(8):
        if t == 3:
            agent.executed(np.full((batch, 2), 0.25))
        if t == 4:
            agent.reset(rows=[batch - 1])
        if t == 5:
            agent.exploration_stddev = 0.7
        if t == 6:
            agent.filter(frame(t, batch))
            agent.plan()
        else:
            yield torch.from_numpy(agent.act(frame(t, batch), explore=t % 2 == 1))
        assert agent.latent is not None and agent.planned is not None
        yield from (agent.latent.belief, agent.latent.state)
        plan = agent.planned
        yield from (plan.action, plan.mean, plan.stddev, plan.best_return, plan.kept)


class InterruptedGraph:
    """Does its work, and is interrupted before anybody learns of it."""

    def __init__(self, body: Callable[[], None]) -> None:
        self.body, self.interrupt, self.started = body, False, False

    def replay(self) -> None:
        self.body()
        self.started = True

    def wait(self) -> None:
        interrupted, self.started = self.started and self.interrupt, False
        if interrupted:
            self.interrupt = False
            raise KeyboardInterrupt


class CaptureRules(TorchDispatchMode):
    """Refuses what a stream capture refuses: results read by the host, and numbers copied to it.

    `lift_fresh` is `torch.tensor(number)`, which on a device is a copy from pageable memory.
    """

    FORBIDDEN = ("_local_scalar_dense", "lift_fresh", "nonzero", "equal.default", "is_nonzero")

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = str(func)
        if any(part in name for part in self.FORBIDDEN):
            raise AssertionError(f"{name} cannot be captured")
        return func(*args, **(kwargs or {}))
