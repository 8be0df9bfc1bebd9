"""Architectures, hyperparameters, history, search algorithms and the planner. Never imports TensorFlow."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from model_search.search.algorithms.algorithm import Proposal, SearchAlgorithm
    from model_search.search.algorithms.registry import register_search
    from model_search.search.samplers.sampler import Sampler, register_sampler

__all__ = ["Proposal", "Sampler", "SearchAlgorithm", "register_sampler", "register_search"]

_LAZY = {
    "Proposal": "model_search.search.algorithms.algorithm",
    "Sampler": "model_search.search.samplers.sampler",
    "SearchAlgorithm": "model_search.search.algorithms.algorithm",
    "register_sampler": "model_search.search.samplers.sampler",
    "register_search": "model_search.search.algorithms.registry",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'model_search.search' has no attribute {name!r}")
