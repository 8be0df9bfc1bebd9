"""Searches with shared weights."""

from model_search.search.algorithms.one_shot.searches import OneShot, compared

__all__ = ["OneShot", "compared"]
