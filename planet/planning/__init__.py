"""Planners over the ops."""

from planet.planning.cem import CEMPlanner

__all__ = ["CEMPlanner"]
