"""Times whole control steps by the host's clock: frame in host memory to action in host memory.

    python benchmarks/control_step/bench.py --device cuda        # 10,000 steps of each form
    python benchmarks/control_step/bench.py --steps 100          # on the CPU

What a control loop waits for in `Agent.act`, everything included: checks, seeds, copies, launches,
encoder, filter, plan. An untrained world model of the paper's sizes acts on random frames. The
forms take turns in blocks of steps, persistent ones after the others have; before they are timed,
a form that is captured in a CUDA graph, or runs on static buffers, must act exactly as the other
form of its precision does.
Writes JSON.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
from circumstances import circumstances, gpu_state, result_path
from gpu.runner import write_json

from planet.acting.agent import Agent
from planet.config import Config
from planet.config.presets import PRESETS
from planet.models import WorldModel
from planet.noise import row_seeds
from planet.ops.checks import VARIANTS
from planet.planning import make_planner
from planet.profiling import Stage
from planet.protocols import image_spec

FRAMES, BLOCK = 16, 50
WRONG = "acts otherwise than the eager form"
FAILED = "failed: "
ACTIONS = 6  # the cheetah's


@dataclass(frozen=True)
class Form:
    """A way to run the control step.

    Attributes:
      precision: of the planner.
      variant: of the planner's kernels.
      capture: in a CUDA graph, or on static buffers on the CPU.
      share: of the steps that are timed, as slow forms need fewer.
    """

    precision: str
    variant: str = "portable"
    capture: bool = False
    share: float = 1.0


CPU_FORMS = {"compiled fp32": Form("fp32"), "static buffers fp32": Form("fp32", capture=True),
             "compiled int8": Form("int8")}  # fmt: skip
CUDA_FORMS = {
    "graph fp32": Form("fp32", capture=True),
    "graph fp16": Form("fp16", capture=True),
    "graph bf16": Form("bf16", capture=True),
    "graph fp16 persistent": Form("fp16", "persistent", capture=True),
    "eager fp32": Form("fp32", share=0.1),
    "eager fp16": Form("fp16", share=0.1),
}


def make_agent(config: Config, form: Form, device: torch.device) -> Agent:
    """An untrained agent; all forms have the same parameters."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = WorldModel(config.model, ACTIONS, image_spec(config.environment.image_size)).to(
            device
        )
    imagination = replace(config.imagination, precision=form.precision, variant=form.variant)
    planner = make_planner(config.planner)
    return Agent(model, planner, imagination=imagination, capture=form.capture)


def ready(
    config: Config, forms: dict[str, Form], device: torch.device, batch: int
) -> tuple[dict[str, Agent], dict[str, str]]:
    """Agents that acted, and why the others cannot.

    A captured form that acts otherwise than the eager one of its precision and variant is none.
    What is refused is no error; what fails is.
    """
    agents, missing = {}, {}
    for name, form in forms.items():
        try:
            agent = make_agent(config, form, device)
            got = episode(agent, config, batch)
            if form.capture:
                eager = make_agent(config, Form(form.precision, form.variant), device)
                if not np.array_equal(got, episode(eager, config, batch)):
                    missing[name] = WRONG
                    continue
            agents[name] = agent
        except (ValueError, TypeError, ImportError) as refusal:
            missing[name] = str(refusal).splitlines()[0]
        except RuntimeError as error:
            missing[name] = FAILED + str(error).splitlines()[0]
    return agents, missing


def frames(config: Config, batch: int) -> np.ndarray:
    """Random observations, [frames, B, h, w, 3]."""
    size = config.environment.image_size
    return np.random.default_rng(0).integers(0, 256, (FRAMES, batch, size, size, 3), np.uint8)


def episode(agent: Agent, config: Config, batch: int) -> np.ndarray:
    """The actions of a few steps."""
    agent.reset(row_seeds(1, batch))
    return np.stack([agent.act(picture, True) for picture in frames(config, batch)[:4]])


def measure(
    agents: dict[str, Agent],
    forms: dict[str, Form],
    config: Config,
    batch: int,
    steps: int,
    seconds: float,
) -> dict[str, list[tuple[float, float]]]:
    """Milliseconds and CPU milliseconds of every step of every form.

    The forms take turns in blocks, for at most so many seconds.
    """
    pictures = frames(config, batch)
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in agents}
    for agent in agents.values():
        agent.reset(row_seeds(2, batch))
        for picture in pictures:  # warms up
            agent.act(picture)
    turn, end = 0, time.perf_counter() + seconds
    due = {name: max(1, int(forms[name].share * steps)) for name in agents}
    while any(len(times[n]) < due[n] for n in due) and (not turn or time.perf_counter() < end):
        for name in list(agents) if turn % 2 == 0 else list(reversed(agents)):
            for number in range(min(BLOCK, due[name] - len(times[name]))):
                picture = pictures[number % FRAMES]
                cpu, began = time.process_time(), time.perf_counter()
                agents[name].act(picture)
                wall = time.perf_counter() - began
                times[name].append((1e3 * wall, 1e3 * (time.process_time() - cpu)))
        turn += 1
    return times


def groups(forms: dict[str, Form]) -> list[dict[str, Form]]:
    """The forms by variant: a persistent kernel that fails takes the process's device along."""
    named = ({n: form for n, form in forms.items() if form.variant == v} for v in VARIANTS)
    return [group for group in named if group]


def measure_all(
    forms: dict[str, Form], config: Config, device: torch.device, batch: int, steps: int,
    seconds: float, write: Callable[[dict[str, Any]], None],
) -> dict[str, Any]:  # fmt: skip
    """Measures a number of problems, group by group; `write` is told of the figures after each."""
    found: dict[str, Any] = {"steps": {}, "times": {}, "missing": {}, "state_before": gpu_state()}
    each = groups(forms)
    for group in each:
        agents, missing = ready(config, group, device, batch)
        found["missing"] |= missing
        write(found)
        times = measure(agents, group, config, batch, max(1, steps // batch), seconds / len(each))
        found["steps"] |= {name: len(values) for name, values in times.items()}
        found["times"] |= {
            name: Stage(name, *zip(*values, strict=True)).summary()
            for name, values in times.items()
        }
        found["state_after"] = gpu_state()
        write(found)
    return found


def cell(milliseconds: float | None) -> str:
    """A number of the table; a percentile of too few steps is none."""
    return f"{'-':>9}" if milliseconds is None else f"{milliseconds:9.3f}"


def main() -> int:
    """Command line; exit status 1 when a form fails or acts otherwise, or none could be timed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--steps", type=int, help="of each form; else 10,000, or 100 on the CPU")
    parser.add_argument("--seconds", type=float, default=600.0, help="of each number of problems")
    parser.add_argument("--problems", nargs="+", type=int, default=[1])
    parser.add_argument("--preset", choices=tuple(PRESETS), default="paper")
    parser.add_argument("--no-persistent", action="store_true", help="or PLANET_NO_PERSISTENT")
    parser.add_argument("--quick", action="store_true", help="few steps, to test the command")
    parser.add_argument("--output", type=Path, help="else a file in benchmarks/results")
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        raise SystemExit(f"--device cuda: torch {torch.__version__} sees no CUDA device")
    device = torch.device(options.device)
    preset = "small" if options.quick else options.preset
    forms = CUDA_FORMS if options.device == "cuda" else CPU_FORMS
    if options.no_persistent or os.environ.get("PLANET_NO_PERSISTENT"):
        forms = {name: form for name, form in forms.items() if form.variant != "persistent"}
    steps = options.steps or (10_000 if options.device == "cuda" else 100)
    config, steps = PRESETS[preset]("cheetah-run"), 4 if options.quick else steps
    output = options.output or result_path("control_step", device)
    result: dict[str, Any] = {
        **circumstances(), "clock": "host, around Agent.act", "preset": preset, "problems": {},
    }  # fmt: skip
    print(f"{'problems':>8}  {'form':24}" + "".join(f"{n:>9}" for n in ("p50", "p99", "max ms")))
    wrong = 0
    for batch in options.problems:

        def write(found: dict[str, Any], batch: int = batch) -> None:
            result["problems"][str(batch)] = found
            write_json(output, result)

        found = measure_all(forms, config, device, batch, steps, options.seconds, write)
        for name, stage in found["times"].items():
            cells = "".join(cell(stage[key]) for key in ("p50_ms", "p99_ms", "max_ms"))
            print(f"{batch:>8}  {name:24}{cells}", flush=True)
        for name, why in found["missing"].items():
            print(f"{batch:>8}  {name:24}not measured: {why}", flush=True)
        wrong += sum(why.startswith((WRONG, FAILED)) for why in found["missing"].values())
    print(f"written to {output}")
    fastest = [min((stage["p50_ms"] or stage["max_ms"], name)
                   for name, stage in found["times"].items())
               for found in result["problems"].values() if found["times"]]  # fmt: skip
    shown = ", ".join(f"{name} {ms:.2f} ms" for ms, name in fastest) or "nothing was timed"
    print(f"{shown}, {wrong} wrong")
    return int(wrong > 0 or not fastest)


if __name__ == "__main__":
    sys.exit(main())
