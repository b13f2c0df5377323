"""Times control steps of one policy, or of several side by side."""

from planet.profiling.latency import Stage
from planet.profiling.measure import measure_session
from planet.profiling.plot import plot_latency
from planet.profiling.result import Comparison, Profile
from planet.profiling.session import Session, run_session, untrained_session

__all__ = [
    "Comparison", "Profile", "Session", "Stage", "measure_session", "plot_latency", "run_session",
    "untrained_session",
]  # fmt: skip
