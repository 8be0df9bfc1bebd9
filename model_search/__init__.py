"""Model Search finds the neural network for your data.

>>> import model_search
>>> study = model_search.fit(x, y, number_models=40)                # doctest: +SKIP
>>> study.leaderboard(); study.predict(new_x)                       # doctest: +SKIP

Everything heavy (TensorFlow, pandas) is loaded when it is first needed.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "1.0.0"

if TYPE_CHECKING:
    from model_search.errors import ModelSearchError, UserError
    from model_search.quick import fit
    from model_search.search.algorithms.algorithm import Proposal, SearchAlgorithm
    from model_search.search.algorithms.registry import register_search
    from model_search.search.planning.early_stopping import register_stopping_rule
    from model_search.search.planning.evaluation_schedule import register_schedule
    from model_search.search.planning.rules.rule import register_planner_rule
    from model_search.search.samplers.sampler import Sampler, register_sampler
    from model_search.single_trainer import SingleTrainer
    from model_search.spec.searches import Setting
    from model_search.study import Study, load_study
    from model_search.training.evaluator import register_evaluator

__all__ = [
    "ModelSearchError",
    "Proposal",
    "Sampler",
    "SearchAlgorithm",
    "Setting",
    "SingleTrainer",
    "Study",
    "UserError",
    "__version__",
    "fit",
    "load_study",
    "register_evaluator",
    "register_planner_rule",
    "register_sampler",
    "register_schedule",
    "register_search",
    "register_stopping_rule",
]

_LAZY = {
    "ModelSearchError": "model_search.errors",
    "UserError": "model_search.errors",
    "fit": "model_search.quick",
    "Proposal": "model_search.search.algorithms.algorithm",
    "Sampler": "model_search.search.samplers.sampler",
    "SearchAlgorithm": "model_search.search.algorithms.algorithm",
    "Setting": "model_search.spec.searches",
    "SingleTrainer": "model_search.single_trainer",
    "Study": "model_search.study",
    "load_study": "model_search.study",
    "register_evaluator": "model_search.training.evaluator",
    "register_planner_rule": "model_search.search.planning.rules.rule",
    "register_sampler": "model_search.search.samplers.sampler",
    "register_schedule": "model_search.search.planning.evaluation_schedule",
    "register_search": "model_search.search.algorithms.registry",
    "register_stopping_rule": "model_search.search.planning.early_stopping",
}
_SUBMODULES = (
    "block",
    "block_builder",
    "blocks",
    "constants",
    "data",
    "errors",
    "main",
    "metadata",
    "registry",
    "search",
    "single_trainer",
    "study",
)


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    if name in _SUBMODULES:
        return importlib.import_module(f"model_search.{name}")
    raise AttributeError(f"module 'model_search' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*__all__, *_SUBMODULES})
