"""Holds what is learned: RSSM, encoder, decoder, reward model, the world model of them."""

from planet.models.decoder import ConvDecoder, MLPDecoder, make_decoder
from planet.models.encoder import Encoder
from planet.models.reward import RewardModel
from planet.models.rssm import RSSM
from planet.models.world_model import WorldModel

__all__ = [
    "RSSM",
    "ConvDecoder",
    "Encoder",
    "MLPDecoder",
    "RewardModel",
    "WorldModel",
    "make_decoder",
]
