"""Computes one imagined step in each precision."""
