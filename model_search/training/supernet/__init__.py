"""Weights that all cells of a space share: trained once, then used to compare architectures."""

from model_search.training.supernet.evaluator import SupernetEvaluator

__all__ = ["SupernetEvaluator"]
