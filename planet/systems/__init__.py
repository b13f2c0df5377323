"""Puts a system together from the rooms' parts: one file for each."""
