"""Registries: declarations by name."""

from __future__ import annotations

import difflib
import importlib
import inspect
import pkgutil
from collections.abc import Iterator, Mapping
from typing import Any, Generic, TypeVar

from model_search.errors import UserError

_T = TypeVar("_T")


class Registry(Generic[_T]):
    """Declarations of one kind, by name.

    The built-in ones are decorated classes in the modules of one package. They are imported when the registry is first
    asked, by the package's name, so that a registry may stand below the package that fills it: `spec/` knows all
    searches without importing `search/`, and a new module in that package is found without being listed anywhere.
    """

    def __init__(self, what: str, package: str, how: str):
        """Creates a registry of the package's own declarations.

        Args:
            what: What messages call an entry, such as "search".
            package: Full name of the package whose modules declare the built-in entries.
            how: Name of the decorator that declares an entry, for messages.
        """
        self._what, self._package, self._how = what, package, how
        self._declared: dict[str, _T] = {}
        self._owners: dict[str, type] = {}
        self._is_complete = False

    def add(self, name: str, declared: _T, owner: type) -> None:
        """Adds a declaration; redefining the same class (in a notebook, for example) replaces the earlier one.

        Args:
            name: The name, one word.
            declared: What is declared.
            owner: The decorated class.

        Raises:
            UserError: if the name is no word, or another class has it.
        """
        if not isinstance(name, str) or not name.isidentifier():
            raise UserError(f"the name of a {self._what} is {name!r}; expected a word such as MY_SEARCH")
        if not self._is_builtin(owner):
            self._complete()  # so that no name of the package is taken away from it
        known = self._owners.get(name)
        if known is not None and _identity(known) != _identity(owner):
            raise UserError(
                f"the {self._what} {name!r} exists already ({known.__module__}.{known.__qualname__}); "
                "register yours under another name"
            )
        self._declared[name], self._owners[name] = declared, owner

    def remove(self, name: str) -> None:
        """Forgets a declaration; for tests."""
        self._declared.pop(name, None)
        self._owners.pop(name, None)

    def find(self, name: str) -> _T | None:
        """The declaration of that name; None if there is none."""
        self._complete()
        return self._declared.get(name)

    def get(self, name: str) -> _T:
        """The declaration of that name.

        Raises:
            UserError: if there is none; the message names the nearest ones.
        """
        found = self.find(name)
        if found is None:
            raise UserError(self.unknown(name))
        return found

    def unknown(self, name: str) -> str:
        """An error message for a name that is not declared."""
        self._complete()
        near = difflib.get_close_matches(name.upper(), {known.upper() for known in self._declared}, n=3, cutoff=0.5)
        nearest = [known for known in self if known.upper() in near]
        hint = f"the nearest names are {', '.join(nearest)}" if nearest else f"expected one of {', '.join(self)}"
        return f"There is no {self._what} {name!r}; {hint}; declare your own with @{self._how}."

    def __iter__(self) -> Iterator[str]:
        """The names, sorted."""
        self._complete()
        return iter(sorted(self._declared))

    def __contains__(self, name: object) -> bool:
        """Whether a name is declared."""
        self._complete()
        return name in self._declared

    @property
    def builtin(self) -> tuple[str, ...]:
        """The names that come with the package, sorted."""
        return tuple(name for name in self if self._is_builtin(self._owners[name]))

    def of_users(self) -> dict[str, tuple[_T, type]]:
        """The users' declarations, with the decorated classes: for other processes."""
        return {
            name: (declared, self._owners[name])
            for name, declared in self._declared.items()
            if not self._is_builtin(self._owners[name])
        }

    def restore(self, declarations: Mapping[str, tuple[_T, type]]) -> None:
        """Adds what `of_users` returned in another process, replacing declarations of the same names."""
        for name, (declared, owner) in declarations.items():
            self.remove(name)
            self.add(name, declared, owner)

    def _is_builtin(self, owner: type) -> bool:
        return owner.__module__.startswith(f"{self._package}.")

    def _complete(self) -> None:
        """Imports the modules that declare the built-in entries."""
        if self._is_complete:
            return
        package = importlib.import_module(self._package)
        for module in pkgutil.iter_modules(package.__path__):
            importlib.import_module(f"{self._package}.{module.name}")
        self._is_complete = True


def construct(cls: type[_T], what: str, given: Mapping[str, Any]) -> _T:
    """An object of a class whose constructor may take any part of what is given, by keyword.

    Raises:
        UserError: if the constructor needs anything else.
    """
    check_constructor(cls, what, given)
    parameters = inspect.signature(cls).parameters
    takes_all = any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values())
    return cls(**{name: value for name, value in given.items() if takes_all or name in parameters})


def check_constructor(cls: type, what: str, given: Mapping[str, Any]) -> None:
    """Refuses a class whose constructor needs what is not given.

    Raises:
        UserError: the message names the needed and the given arguments.
    """
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    missing = [
        parameter.name
        for parameter in inspect.signature(cls).parameters.values()
        if parameter.kind not in variadic and parameter.default is parameter.empty and parameter.name not in given
    ]
    if missing:
        raise UserError(
            f"the constructor of {what} ({cls.__qualname__}) needs {', '.join(missing)}; it is given "
            f"{', '.join(given) or 'nothing'}: give the others a default value, or declare them as settings"
        )


def _identity(cls: type) -> tuple[str, str]:
    return cls.__module__, cls.__qualname__
