"""Keeps bytes on disk."""
