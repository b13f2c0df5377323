"""Times control steps, of one planner or of several side by side."""

from planet.profiling.latency import Stage
from planet.profiling.measure import compare_planners, compare_run
from planet.profiling.plot import plot_latency
from planet.profiling.result import Comparison, Profile

__all__ = ["Comparison", "Profile", "Stage", "compare_planners", "compare_run", "plot_latency"]
