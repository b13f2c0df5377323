"""Bytes on disk: what every file of planet's own has in common."""
