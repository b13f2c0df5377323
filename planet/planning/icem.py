"""The improved cross-entropy method."""

from __future__ import annotations

from dataclasses import dataclass

from planet.planning.sampling import SamplingPlanner


@dataclass(frozen=True)
class ICEMPlanner(SamplingPlanner):
    """Plans with few rollouts, by the improved cross-entropy method.

    Pinneri et al., "Sample-efficient Cross-Entropy Method for Real-time Planning" (CoRL 2020). To
    the cross-entropy method it adds normals that are coloured along time, elites that are scored
    again in the next iteration and the next plan, a population that shrinks, and momentum. The
    defaults take 120 rollouts. The paper's colour is 0.25 for cheetah and swingup, and 2.5 for
    slower tasks. It puts the mean among the last candidates, which is not done here.

    Attributes:
      horizon: H, model steps.
      candidates: J, action sequences of the first iteration.
      iterations: I.
      topk: K, elites.
      initial_stddev, epsilon, colour, numerics, keep, decay, momentum, output, shift: see
        `planet.planning.sampling.SearchSettings`.

    Raises:
      TypeError, ValueError: a setting has a wrong type or is out of range.
    """

    candidates: int = 46
    iterations: int = 3
    topk: int = 10
    initial_stddev: float = 0.5
    epsilon: float = 1e-6
    colour: float = 0.25
    numerics: str = "unit"
    keep: int = 3
    decay: float = 1.25
    momentum: float = 0.1
    output: str = "best"
    shift: str = "repeat"
