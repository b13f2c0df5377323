"""Trains: loss, collection of episodes, the trainer and its metrics."""
