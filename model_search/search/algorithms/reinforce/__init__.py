"""REINFORCE: a recurrent controller draws architectures and learns from what they bring."""

from model_search.search.algorithms.reinforce.search import Reinforce

__all__ = ["Reinforce"]
