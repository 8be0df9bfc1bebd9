"""Blocks: `catalogue` lists them without building any; the family modules build them with Keras."""

from model_search.blocks.block import Block, BlockSettings
from model_search.blocks.catalogue import BlockHyperparameter
from model_search.blocks.registration import register_block

__all__ = ["Block", "BlockHyperparameter", "BlockSettings", "register_block"]
