"""Shows where the time of a control step goes, for one planner or several side by side."""

from planet.profiling.facts import compute_facts, plan_facts
from planet.profiling.latency import Stage
from planet.profiling.measure import compare_planners, compare_run
from planet.profiling.plot import plot_latency
from planet.profiling.result import Comparison, Profile

__all__ = [
    "Comparison",
    "Profile",
    "Stage",
    "compare_planners",
    "compare_run",
    "compute_facts",
    "plan_facts",
    "plot_latency",
]
