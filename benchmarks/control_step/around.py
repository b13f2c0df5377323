"""Times what surrounds the plan in a control step: in PyTorch's modules, and compiled.

    python benchmarks/control_step/around.py            # both presets, one and two threads

Three parts, forms by turns in one process, p50 with its 95 % interval in milliseconds:

encoder   one frame's convolutions: PyTorch as the world model has them, channels last, oneDNN with
          weights in its own layout, torch.compile with freezing; and the compiled core.
filter    from frame to latent: dither, encoder, belief, posterior.
step      `Agent.act` less its plan: all of that, checks, copies, exploration, clipping.

A step's plan leaves its own weights in the caches, so the filter's come from further away: the step
is timed with its whole plan, encoder and filter both warm and after an iteration of the plan. The
modules' step is the agent's with the frames filtered by PyTorch.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parents[1]))
from circumstances import circumstances, result_path
from gpu.runner import write_json

from planet.acting.agent import Agent
from planet.acting.control_step import ControlStep, StepInputs
from planet.acting.timeline import Timeline
from planet.config import ImaginationConfig
from planet.config.presets import PRESETS
from planet.latent import LatentState
from planet.models import WorldModel
from planet.noise import STREAM_POSTERIOR, row_seeds
from planet.ops import draws, fused
from planet.ops.equations import filtered
from planet.ops.pixels import images
from planet.planning import CEMPlanner, Imagination, make_planner
from planet.profiling.quantiles import quantile, values_needed
from planet.protocols import Plan, image_spec
from planet.weights.filter_weights import FilterWeights

ACTIONS, FRAMES = 6, 16
Form = Callable[[], float]
"""Runs once and returns seconds."""


def timed(call: Callable[[], object]) -> Form:
    """Times a call by the host's clock."""

    def run() -> float:
        began = time.perf_counter()
        call()
        return time.perf_counter() - began

    return run


def torch_filter(
    weights: FilterWeights, latent: LatentState, action: Tensor, observation: Tensor, seeds: Tensor
) -> LatentState:
    """Filters by PyTorch's operators; the draws are compiled, as they were before the rest was."""
    image = images(observation[None], seeds, weights.bit_depth)[0]
    noise = draws.normals(seeds, 1, weights.rollout.state_size, stream=STREAM_POSTERIOR)[:, 0]
    return filtered(weights, latent, action, image, noise)


@dataclass(frozen=True)
class ModulesStep(ControlStep):
    """A control step that filters by PyTorch and plans by the compiled core."""

    @torch.no_grad()
    def filter(self, latent: LatentState, inputs: StepInputs) -> LatentState:
        """See `ControlStep.filter`."""
        frames = inputs.observation["image"]
        return torch_filter(self.weights, latent, inputs.action, frames, inputs.seeds)


class ModulesAgent(Agent):
    """An agent of such steps; a planner of its own kind is what no compiled step takes."""

    def _control_step(self) -> ModulesStep:
        return ModulesStep(**vars(super()._control_step()))


class OwnPlanner(CEMPlanner):
    """Plans likewise, by a method of its own, so that no compiled step takes it."""

    def plan(self, *arguments: Any, **options: Any) -> Plan:
        """See `CEMPlanner.plan`."""
        return super().plan(*arguments, **options)


class Packed(nn.Module):
    """The encoder by oneDNN alone, with weights that lie as it wants them; ReLU only."""

    def __init__(self, weights: FilterWeights) -> None:
        super().__init__()
        self.layers, side = [], weights.image_size
        channels = 3
        for weight, bias, stride in zip(
            weights.encoder_weights, weights.encoder_biases, weights.encoder_strides, strict=True
        ):
            shape = [1, channels, side, side]
            packed = torch.ops.mkldnn._reorder_convolution_weight(
                weight, [0, 0], [stride, stride], [1, 1], 1, shape
            )
            self.layers.append((packed, bias, stride))
            channels, side = weight.shape[0], (side - weight.shape[2]) // stride + 1

    def forward(self, x: Tensor) -> Tensor:
        """[1, 3, h, w] to [1, E]."""
        for weight, bias, stride in self.layers:
            x = torch.ops.mkldnn._convolution_pointwise(
                x, weight, bias, [0, 0], [stride, stride], [1, 1], 1, "relu", [], ""
            )
        return x.flatten(1)


def encoders(model: WorldModel) -> dict[str, Callable[[Tensor], Tensor]]:
    """Every way to encode an image, but the compiled core's."""
    import torch._inductor.config as inductor

    encoder = model.encoders["image"].eval()
    ways: dict[str, Any] = {"modules": encoder}
    last = type(encoder)(model.config, model.observation["image"][1][0]).to(
        memory_format=torch.channels_last
    )
    last.load_state_dict(encoder.state_dict())
    ways["channels last"] = last
    if model.config.activation == "relu":
        ways["oneDNN packed"] = Packed(model.filter_weights())
    inductor.freezing = True
    ways["torch.compile, frozen"] = torch.compile(encoder)
    return ways


def encoder_forms(model: WorldModel) -> dict[str, Form]:
    """The forms of the part `encoder`, which agree with each other."""
    size = model.observation["image"][1][0]
    image = images(torch.zeros(1, 1, size, size, 3, dtype=torch.uint8), row_seeds(0, 1), 5)[0]
    ways, expected = encoders(model), model.encoders["image"](image)
    for name, way in ways.items():
        torch.testing.assert_close(way(image), expected, msg=f"{name} encodes otherwise")
    agent = Agent(model, CEMPlanner(1, 1, 1, 1))
    agent.timeline = Timeline()
    agent.reset(0)
    frame = np.zeros((size, size, 3), np.uint8)

    def core() -> float:
        agent.act(frame)
        (span,) = (span for span in agent.timeline.spans if span.stage == "encoder")
        return 1e-9 * (span.end - span.begin)

    forms = {name: timed(lambda way=way: way(image)) for name, way in ways.items()}
    return {**forms, "planet": core}


def filter_forms(model: WorldModel) -> dict[str, Form]:
    """The forms of the part `filter`."""
    weights, latent, seeds = model.filter_weights(), model.initial(1), row_seeds(0, 1)
    frame = torch.zeros(1, *model.observation["image"][1], dtype=torch.uint8)
    given = weights, latent, torch.zeros(1, ACTIONS), frame, seeds
    return {
        "modules": timed(lambda: torch_filter(*given)),
        "planet": timed(lambda: fused.filter_step(*given)),
    }


def agents(model: WorldModel, planner: CEMPlanner, precision: str) -> dict[str, Agent]:
    """An agent that filters by PyTorch, and the one that users have."""
    imagination, own = ImaginationConfig(precision=precision), OwnPlanner(**asdict(planner))
    return {
        "modules": ModulesAgent(model, own, imagination=imagination),
        "planet": Agent(model, planner, imagination=imagination),
    }


def outside(agent: Agent) -> Form:
    """Makes the form of the part `step`: seconds of `act` outside of its plan."""
    size = agent.weights.image_size
    frames = np.random.default_rng(0).integers(0, 256, (FRAMES, size, size, 3), np.uint8)
    steps = itertools.count()
    agent.timeline = timeline = Timeline()
    agent.reset(0)

    def run() -> float:
        frame = frames[next(steps) % FRAMES]
        began = time.perf_counter()
        agent.act(frame, explore=True)
        seconds = time.perf_counter() - began
        plans = (span for span in timeline.spans if span.stage == "plan")
        return seconds - 1e-9 * sum(span.end - span.begin for span in plans)

    return run


def by_turns(
    forms: Mapping[str, Form], rounds: int, before: Callable[[], object]
) -> dict[str, Any]:
    """Runs every form so many times, by turns, each after `before`; p50 and its interval in ms."""
    times: dict[str, list[float]] = {name: [] for name in forms}
    names = list(forms)
    for turn in range(-5, rounds):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            before()
            seconds = forms[name]()
            if turn >= 0:
                times[name].append(1e3 * seconds)
    estimates = {name: quantile(values, 0.5) for name, values in times.items()}
    return {name: {**vars(e), "n": rounds} for name, e in estimates.items() if e is not None}


@torch.no_grad()
def measure(preset: str, threads: int, rounds: int, precision: str) -> dict[str, Any]:
    """All parts of one preset."""
    torch.set_num_threads(threads)
    config = PRESETS[preset]("cheetah-run")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = WorldModel(config.model, ACTIONS, image_spec(config.environment.image_size))
    planner = make_planner(config.planner)
    one = CEMPlanner(planner.horizon, planner.candidates, 1, planner.topk)
    imagination = Imagination(model.rollout_weights(), model.initial(1), precision=precision)
    cold: Callable[[], object] = lambda: one.plan(imagination)  # noqa: E731
    found: dict[str, Any] = {}
    for part, forms in (("encoder", encoder_forms(model)), ("filter", filter_forms(model))):
        found[part] = by_turns(forms, rounds, lambda: None)
        found[f"{part}, after a plan"] = by_turns(forms, rounds, cold)
    steps = {name: outside(agent) for name, agent in agents(model, planner, precision).items()}
    found["step"] = by_turns(steps, rounds, lambda: None)
    return found


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--presets", nargs="+", choices=tuple(PRESETS), default=["small", "paper"])
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--rounds", type=int, default=100, help="of each form")
    parser.add_argument("--precision", default="fp32", help="of the plan")
    parser.add_argument("--output", type=Path, default=result_path("control_step_around", "cpu"))
    options = parser.parse_args()
    if options.rounds < values_needed(0.5):
        parser.error(f"--rounds: expected at least {values_needed(0.5)}, got {options.rounds}")
    result: dict[str, Any] = {
        **circumstances(), "unit": "ms", "precision": options.precision, "presets": {},
    }  # fmt: skip
    for preset in options.presets:
        for threads in options.threads:
            found = measure(preset, threads, options.rounds, options.precision)
            result["presets"].setdefault(preset, {})[str(threads)] = found
            print(f"\n{preset}, {threads} threads, {options.rounds} rounds, ms")
            for part, forms in found.items():
                for name, p50 in forms.items():
                    span = f"{p50['low']:.3f} to {p50['high']:.3f}"
                    print(f"  {part:22} {name:22} {p50['value']:8.3f}  {span}", flush=True)
            write_json(options.output, result)
    print(f"\nwritten to {options.output}")


if __name__ == "__main__":
    main()
