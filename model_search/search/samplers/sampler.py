"""The interface of a sampler of hyperparameters, how one is declared, and made by its name."""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping
from typing import TypeVar

import numpy as np

from model_search.errors import UserError
from model_search.metadata.trial import HyperparameterValue
from model_search.registries import Registry, check_constructor, construct
from model_search.search.history.history import History
from model_search.search.predictor.predictor import Predictors
from model_search.search.space.architecture import Architecture
from model_search.search.space.grammar import Grammar
from model_search.search.space.hyperparameter_space import Space

AUTO = "auto"  # whatever goes with the search
_GIVEN = ("grammar", "predictors")


class Sampler(abc.ABC):
    """Chooses hyperparameters. The same history and generator give the same values."""

    @abc.abstractmethod
    def sample(
        self,
        space: Space,
        history: History,
        rng: np.random.Generator,
        fixed: Mapping[str, HyperparameterValue],
        architecture: Architecture = (),
    ) -> dict[str, HyperparameterValue]:
        """A value for every hyperparameter of the space that is in effect.

        Args:
            space: The hyperparameters that the architecture has.
            history: The trials so far, finished and running.
            rng: Source of all randomness.
            fixed: Values that are given; they come back unchanged.
            architecture: What is to be trained with them.
        """

    def is_random(self, history: History) -> bool:
        """Whether the values do not depend on what was tried; here they are taken to."""
        del history
        return False


_Class = TypeVar("_Class", bound=type[Sampler])

SAMPLERS: Registry[type[Sampler]] = Registry("sampler", "model_search.search.samplers", "model_search.register_sampler")


def register_sampler(name: str) -> Callable[[_Class], _Class]:
    """Declares a class as a sampler that `sampler=` and `--hypertuning_method` can name.

    Args:
        name: Its name, a word. The constructor may take `grammar` (the architectures of the study) and `predictors`
            (its `Predictors`).

    Raises:
        UserError: if the name is taken, or the class is no `Sampler` with a method `sample`.
    """

    def register(cls: _Class) -> _Class:
        if name == AUTO:
            raise UserError(f"a sampler cannot be called {AUTO!r}, which means the one that goes with the search")
        if not isinstance(cls, type) or not issubclass(cls, Sampler) or cls.__abstractmethods__:
            raise UserError(f"sampler {name!r} is {cls!r}; expected a subclass of Sampler with a method sample")
        check_constructor(cls, f"sampler {name}", dict.fromkeys(_GIVEN))
        SAMPLERS.add(name, cls, cls)
        return cls

    return register


def sampler_names() -> tuple[str, ...]:
    """All names that a sampler can be asked for by, "auto" first."""
    return (AUTO, *SAMPLERS)


def make_sampler(
    name: str, grammar: Grammar, of_the_search: str = "random", predictors: Predictors | None = None
) -> Sampler:
    """The sampler of that name.

    Args:
        name: A name of `sampler_names`.
        grammar: The architectures that the specification speaks of.
        of_the_search: What "auto" stands for.
        predictors: Those that the search uses, too; its own where None.

    Raises:
        UserError: if there is none.
    """
    given = {"grammar": grammar, "predictors": predictors or Predictors(grammar)}
    chosen = of_the_search if name == AUTO else name
    return construct(SAMPLERS.get(chosen), f"sampler {chosen}", given)
