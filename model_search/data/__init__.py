"""Data: providers, how raw columns become features, and what is to be predicted."""

from model_search.data.prepare_options import PrepareOptions
from model_search.data.provider import Provider, lookup_provider, register_provider

__all__ = ["PrepareOptions", "Provider", "lookup_provider", "register_provider"]
