"""Holds the snapshots of a model, the planner's and the whole agent's, and their forms on disk."""
