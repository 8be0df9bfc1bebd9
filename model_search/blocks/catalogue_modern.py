"""Blocks that this package adds to the archived ones; their ids are from 300 to 399. Never imports TensorFlow."""

from __future__ import annotations

from model_search.blocks.catalogue_records import Family

MODERN: tuple[Family, ...] = ()
