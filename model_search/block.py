"""Where the archived Model Search kept `Block` and `register_block`; they live in `model_search.blocks` now."""

from model_search.blocks import Block, register_block

__all__ = ["Block", "register_block"]
