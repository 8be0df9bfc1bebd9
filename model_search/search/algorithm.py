"""The interface of a search algorithm, where user code imports it from."""

from model_search.search.algorithms.algorithm import Proposal, SearchAlgorithm

__all__ = ["Proposal", "SearchAlgorithm"]
