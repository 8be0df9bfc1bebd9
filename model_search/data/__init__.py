"""Data: providers, how raw columns become features, and what is to be predicted."""

from model_search.data.data import PrepareOptions, Provider, lookup_provider, register_provider

__all__ = ["PrepareOptions", "Provider", "lookup_provider", "register_provider"]
