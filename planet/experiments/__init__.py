"""Reads runs: opens, scores, plots and films them."""
