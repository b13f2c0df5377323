"""Model-predictive path integral control."""

from __future__ import annotations

from dataclasses import dataclass

from planet.planning.sampling import SamplingPlanner


@dataclass(frozen=True)
class MPPIPlanner(SamplingPlanner):
    """Plans the mean of candidates that are weighed by their returns.

    Williams et al., "Information Theoretic MPC for Model-Based Reinforcement Learning" (ICRA 2017),
    with the elites and iterations of Hansen et al., "TD-MPC2" (ICLR 2024).

    The weights are softmax((return - best) / temperature). TD-MPC2 multiplies by what it calls
    temperature, 0.5, where this one divides.

    Attributes:
      horizon: H, model steps.
      candidates: J, action sequences per iteration.
      iterations: I.
      topk: K, elites; J: all candidates are weighed.
      temperature: in environment reward units.
      initial_stddev, epsilon, momentum, output, shift: see
        `planet.planning.sampling.SearchSettings`.

    Raises:
      TypeError, ValueError: a setting has a wrong type or is out of range.
    """

    candidates: int = 512
    iterations: int = 6
    topk: int = 64
    temperature: float = 0.5
    initial_stddev: float = 1.0
    epsilon: float = 1e-6
    momentum: float = 0.0
    output: str = "mean"
    shift: str = "middle"
