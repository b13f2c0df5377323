"""Asks whether the model or the planner keeps an agent from scoring more.

    a step:  belief of the agent --> its plan --------> return that the model predicts
                                       |
             state of the physics -----+--------------> true return of that plan
                      |
                      +--> plan found on the simulator --> its true return

These returns are over the horizon; beside them stand those of whole episodes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

import torch

from planet.acting.agent import Agent
from planet.acting.planning_policy import shifted
from planet.errors.scalars import check_int
from planet.noise import Noise, mix_seed
from planet.planning import sequence
from planet.protocols import Observation, Plan, Policy
from planet.storage.atomic import atomic_write
from planet.training.collect import Environment
from planet.training.progress import Progress
from planet.training.score import Score, play

if TYPE_CHECKING:
    from planet.envs.simulator import Simulator

DRAWS = 64
"""Draws of the model's noise that a predicted return is averaged over."""
ENOUGH = 0.1
"""Share of the simulator's return that a model may cost without being what is to be improved."""


@dataclass(frozen=True)
class StepReturns:
    """Holds returns over the horizon from one control step, in environment reward units.

    Attributes:
      step: of the episode, from 0.
      predicted: by the model, of its plan; averaged over draws that the plan was not chosen by.
      true: of that plan on the simulator.
      simulator: of the plan that the same planner finds on the simulator, from the same first
        distribution.
    """

    step: int
    predicted: float
    true: float
    simulator: float


@dataclass(frozen=True)
class EpisodeReturns:
    """Holds what one episode returned.

    Attributes:
      realised: by the agent.
      simulator: by planning on the simulator instead, with the same planner from the same start.
      steps: of the agent's episode that were looked at.
    """

    realised: float
    simulator: float
    steps: tuple[StepReturns, ...]


class WatchedAgent:
    """Acts as an agent does, and looks at every so many of its plans; a `Policy` of one row.

    Attributes:
      episodes: what was seen, by episode.

    Plans that reach beyond the end of the episode are left out: the model knows of no end.

    Args:
      agent: plans.
      simulator: of the environment that it acts in.
      every: control steps from one look to the next.

    Raises:
      TypeError, ValueError: `every` is no number of steps, or they do not all begin with a plan of
        their own; or plans are longer than an episode.
    """

    def __init__(self, agent: Agent, simulator: Simulator, every: int) -> None:
        self.agent, self._simulator = agent, simulator
        self._every = check_int("every", every, 1)
        environment, horizon = simulator.environment, agent.planner.horizon
        longest = environment.control_steps // environment.action_repeat
        if horizon > longest:
            raise ValueError(
                f"horizon: expected at most the {longest} whole steps of an episode, got {horizon}"
            )
        if every % agent.execute:
            raise ValueError(
                f"every: expected a multiple of execute={agent.execute}, the steps from one plan "
                f"to the next, got {every}"
            )
        self._step = self._seed = 0
        self.episodes: list[list[StepReturns]] = []

    def reset(self, seeds: Sequence[int] | int = 0, rows: Sequence[int] | None = None) -> None:
        """Starts an episode."""
        self.agent.reset(seeds, rows)
        self._step, self._seed = 0, seeds if isinstance(seeds, int) else seeds[0]
        self.episodes.append([])

    def act(self, observation: Observation, explore: bool = False) -> Any:
        """Returns the agent's action."""
        before = self.agent.planned if self._step else None
        action = self.agent.act(observation, explore)
        if self._step % self._every == 0 and self._fits():
            self.episodes[-1].append(self._look(before))
        self._step += 1
        return action

    def executed(self, action: Any) -> None:
        """Tells the agent."""
        self.agent.executed(action)

    def _fits(self) -> bool:
        environment = self._simulator.environment
        needed = self.agent.planner.horizon * environment.action_repeat
        return environment.remaining_steps >= needed

    @torch.no_grad()
    def _look(self, before: Plan | None) -> StepReturns:
        agent, simulator = self.agent, self._simulator
        seed = mix_seed(self._seed, self._step)
        plan, latent = agent.planned, agent.latent
        assert plan is not None and latent is not None
        mine = sequence(plan, agent.planner)
        draws = mine[:, :, None].expand(-1, -1, DRAWS, -1).contiguous()
        predicted = agent.imagination.at(latent).returns(draws, Noise(seed)).mean()
        warm = shifted(before, agent.planner, simulator, agent.execute)
        found = agent.planner.plan(simulator, seed, warm=warm)
        both = torch.stack([mine.cpu(), sequence(found, agent.planner)], dim=2)
        true, best = simulator.returns(both, None)[0].tolist()
        return StepReturns(self._step, float(predicted), true, best)


def diagnose(
    watched: WatchedAgent,
    ceiling: Policy,
    environment: Environment,
    episodes: int,
    seed: int,
    progress: Progress | None = None,
) -> Diagnosis:
    """Plays evaluation episodes with an agent, then the same by planning on the simulator.

    Args:
      watched: the agent; it does not explore.
      ceiling: plans on the simulator, with the agent's planner.
      environment: what to act in.
      episodes: how many; see `planet.training.score.play`.
      seed: of the episodes, likewise.
      progress: is told of every step.

    Raises:
      ValueError, EpisodeError: as `play`.
    """
    agents = play(environment, watched, episodes, seed, progress)
    others = play(environment, ceiling, episodes, seed, progress, "planner on the simulator")
    seen = zip(agents, others, watched.episodes[-episodes:], strict=True)
    return Diagnosis(
        tuple(EpisodeReturns(a.total_reward, b.total_reward, tuple(c)) for a, b, c in seen)
    )


@dataclass(frozen=True)
class Diagnosis:
    """Puts side by side what episodes returned, what the model predicted and what was possible."""

    episodes: tuple[EpisodeReturns, ...]

    @property
    def scores(self) -> dict[str, Score]:
        """Returns one number per episode by name: of the whole episode, or its steps' mean."""
        columns: dict[str, Callable[[EpisodeReturns], float]] = {
            "episode, agent": lambda e: e.realised,
            "episode, planner on the simulator": lambda e: e.simulator,
            "episode, what the model costs": lambda e: e.simulator - e.realised,
            "plan, predicted by the model": lambda e: fmean(s.predicted for s in e.steps),
            "plan, on the simulator": lambda e: fmean(s.true for s in e.steps),
            "plan, exploitation gap": lambda e: fmean(s.predicted - s.true for s in e.steps),
            "plan found on the simulator": lambda e: fmean(s.simulator for s in e.steps),
        }
        return {
            name: Score(name, tuple(map(column, self.episodes))) for name, column in columns.items()
        }

    @property
    def verdict(self) -> str:
        """Says whether a better model or a better planner would help, by two standard errors.

        It is the model where planning on the simulator returns more, and the planner where a
        simulator instead of the model would bring less than a tenth.
        """
        costs = self.scores["episode, what the model costs"]
        ceiling = self.scores["episode, planner on the simulator"].mean
        mean, doubt = costs.mean, 2 * costs.standard_error
        told = f"the simulator in place of the model brings {mean:+.1f} +- {doubt / 2:.1f}"
        if len(self.episodes) < 2:
            return f"undecided from one episode: {told.partition(' +-')[0]}"
        if mean - doubt > 0 and mean > ENOUGH * abs(ceiling):
            return f"the model: {told}"
        if mean + doubt <= ENOUGH * abs(ceiling):
            return f"the planner: {told}, less than a tenth"
        return f"undecided: {told}"

    def table(self) -> str:
        """Writes a line per comparison: mean and standard error over episodes, and the verdict."""
        scores = self.scores
        width = max(map(len, scores))
        lines = [f"{'return':{width}}      mean  +- s.e."]
        lines += [
            f"{name:{width}}  {row.mean:8.1f}  {row.standard_error:7.1f}"
            for name, row in scores.items()
        ]
        return "\n".join([*lines, f"to be improved: {self.verdict}"])

    def write(self, path: Path, **circumstances: Any) -> None:
        """Writes all of it, and what it was made with, as JSON, atomically."""
        scores = {name: row.to_dict() for name, row in self.scores.items()}
        content = {"verdict": self.verdict, **circumstances, "scores": scores, **asdict(self)}
        with atomic_write(path) as file:
            file.write((json.dumps(content, indent=2) + "\n").encode())
