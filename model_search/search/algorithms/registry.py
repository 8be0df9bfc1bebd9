"""How a search algorithm is declared, and made of the specification that names it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar, cast

from model_search.errors import SpecError, UserError
from model_search.registries import check_constructor
from model_search.search.algorithms.algorithm import SearchAlgorithm
from model_search.spec.searches import SEARCHES, Search, Setting, search_type

if TYPE_CHECKING:
    from model_search.proto.phoenix_spec_pb2 import PhoenixSpec
    from model_search.spec.check import Checker

__all__ = ["SEARCHES", "Setting", "make_algorithm", "register_search"]

_Class = TypeVar("_Class", bound=type)


def register_search(
    name: str,
    *,
    settings: Sequence[Setting] = (),
    describe: str | Callable[[PhoenixSpec], str] | None = None,
    message: str = "",
    reads: Sequence[str] = (),
    check: Callable[[Checker], None] | None = None,
) -> Callable[[_Class], _Class]:
    """Declares a class as a search algorithm that a specification can name.

    >>> @register_search("FROM_THE_BEST", settings=[Setting("patience", 3, minimum=1)])        # doctest: +SKIP
    ... class FromTheBest(SearchAlgorithm):
    ...     def propose(self, history, rng):
    ...         best = history.best(self.settings["patience"])
    ...         if not best:
    ...             return Proposal(self.grammar.random(rng))
    ...         return Proposal(self.grammar.vary(best[-1].plan.architecture, rng), parent=best[-1].id)

    Args:
        name: What `search` in a specification says; a word.
        settings: What `search_settings` may give: each with its default, and the range or the texts that it may have.
        describe: A sentence for people, without the name, or a function of the specification that makes it.
        message: The field of `PhoenixSpec` that holds its settings, for searches that have a message of their own.
        reads: Fields of `PhoenixSpec` that no other search reads, unless it says so too.
        check: Notes what is wrong with a specification that names it (`Checker.add`), beside the declared settings.

    Raises:
        UserError: if the name is taken, or the class has no `propose` or a constructor that needs what it is not given.
    """

    def register(cls: _Class) -> _Class:
        algorithm = _algorithm_class(name, cls)
        if getattr(algorithm.of, "__func__", None) is SearchAlgorithm.of.__func__:  # type: ignore[attr-defined]
            check_constructor(algorithm, f"search {name}", dict.fromkeys(["grammar", *(s.name for s in settings)]))
        words = (lambda spec: describe) if isinstance(describe, str) else describe
        SEARCHES.add(name, Search(name, algorithm.of, message, tuple(reads), tuple(settings), words, check), cls)
        return cls

    return register


def make_algorithm(spec: PhoenixSpec) -> SearchAlgorithm:
    """The algorithm that a spec asks for.

    Raises:
        SpecError: if there is no such search, or its settings make no sense.
    """
    search = SEARCHES.find(search_type(spec))
    if search is None:
        raise SpecError(SEARCHES.unknown(search_type(spec)))
    return cast(SearchAlgorithm, search.make(spec))


def _algorithm_class(name: str, cls: type) -> type[SearchAlgorithm]:
    """The class, as a subclass of `SearchAlgorithm` even where it does not say so itself."""
    if not isinstance(cls, type):
        raise UserError(f"search {name} is {cls!r}; expected a class with a method propose(history, rng)")
    if not callable(getattr(cls, "propose", None)):
        raise UserError(f"search {name} ({cls.__qualname__}) has no method propose(history, rng)")
    if not issubclass(cls, SearchAlgorithm):
        cls = type(cls.__name__, (cls, SearchAlgorithm), {"__module__": cls.__module__, "__doc__": cls.__doc__})
    if inspect.isabstract(cls):
        missing = ", ".join(sorted(getattr(cls, "__abstractmethods__", ())))
        raise UserError(f"search {name} ({cls.__qualname__}) does not define {missing}")
    return cls
