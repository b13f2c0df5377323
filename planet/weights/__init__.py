"""Holds the planner's snapshot of a model, and its forms on disk."""
