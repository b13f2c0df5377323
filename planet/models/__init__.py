"""Holds what is learned: RSSM, encoder, decoder, reward model, the world model of them."""

from planet.models.world_model import WorldModel

__all__ = ["WorldModel"]
