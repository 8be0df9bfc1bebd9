"""What a search algorithm declares to the specification: its name, settings, check, and its sentence for people.

The declarations stand beside the algorithms, in `model_search/search/algorithms/`; they are found there when the first
one is asked for (`Registry`). Nothing here knows a single one of them.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from model_search.errors import SpecError, UserError
from model_search.proto.phoenix_spec_pb2 import PhoenixSpec
from model_search.registries import Registry
from model_search.spec import supported

if TYPE_CHECKING:
    from model_search.proto.hparam_pb2 import HParamDef
    from model_search.spec.check import Checker

SettingValue = bool | int | float | str

_KINDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}


@dataclasses.dataclass(frozen=True)
class Setting:
    """A setting of a search that `search_settings` may give; its type is that of its default.

    Attributes:
        name: Its name, a word.
        default: Its value where the specification gives none.
        minimum: The least number it may be; None for no limit.
        maximum: The greatest one.
        choices: The texts it may be; empty for any.
    """

    name: str
    default: SettingValue
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.name.isidentifier():
            raise UserError(f"a setting is called {self.name!r}; expected a word that can be a keyword")
        if type(self.default) not in _KINDS:
            raise UserError(f"the default of setting {self.name!r} is {self.default!r}; expected a number or a text")
        wrong = self._wrong(self.default)
        if wrong:
            raise UserError(f"the default of setting {wrong}")

    def read(self, given: HParamDef.HParamType) -> SettingValue:
        """The value that a specification gives; numbers have the digits that 32 bits hold.

        Raises:
            SpecError: if it is of another type, or outside of its range.
        """
        value = _plain(self.name, given)
        if type(self.default) is float and type(value) is int:
            value = float(value)
        if type(value) is not type(self.default):
            raise SpecError(f"{self.name} is {value!r}; expected {_KINDS[type(self.default)]}.")
        wrong = self._wrong(value)
        if wrong:
            raise SpecError(wrong)
        return value

    def _wrong(self, value: SettingValue) -> str | None:
        if self.choices and value not in self.choices:
            return f"{self.name} is {value!r}; expected one of {', '.join(self.choices)}."
        if isinstance(value, str):
            return None
        low, high = self.minimum, self.maximum
        if math.isfinite(value) and (low is None or value >= low) and (high is None or value <= high):
            return None
        bounds = (("at least", low), ("at most", high))
        limits = [f"{word} {bound:g}" for word, bound in bounds if bound is not None]
        return f"{self.name} is {value:.7g}; expected {' and '.join(limits) or 'a finite number'}."


@dataclasses.dataclass(frozen=True)
class Search:
    """What is declared of a search algorithm.

    Attributes:
        name: What a specification calls it.
        make: Makes the algorithm of a specification.
        message: The field of the specification that holds its settings; empty where it has none of its own.
        reads: Fields of the specification that only this search, and others that say so, read.
        settings: What `search_settings` may give.
        describe: A sentence for people that goes on after the name; None where nothing is said.
        check: Notes what is wrong with its settings.
    """

    name: str
    make: Callable[[PhoenixSpec], Any]
    message: str = ""
    reads: tuple[str, ...] = ()
    settings: tuple[Setting, ...] = ()
    describe: Callable[[PhoenixSpec], str] | None = None
    check: Callable[[Checker], None] | None = None

    def values(self, spec: PhoenixSpec) -> dict[str, SettingValue]:
        """A value for each of its settings.

        Raises:
            SpecError: if the specification gives one that it does not have, or a wrong value.
        """
        given = spec.search_settings.hparam
        for name in sorted(given):
            self._known(name)
        return {s.name: s.read(given[s.name]) if s.name in given else s.default for s in self.settings}

    def check_settings(self, checker: Checker) -> None:
        """Notes everything that is wrong with the `search_settings`."""
        given = checker.spec.search_settings.hparam
        for name in sorted(given):
            try:
                self._known(name).read(given[name])
            except SpecError as error:
                checker.add(str(error), ("search_settings", "hparam", name), ("search_settings",))

    def _known(self, name: str) -> Setting:
        names = [setting.name for setting in self.settings]
        if name in names:
            return self.settings[names.index(name)]
        if self.message:
            others = f", besides {', '.join(names)}" if names else ""
            hint = f"its settings are fields of {self.message}{others}"
        elif not names:
            hint = "it has none"
        else:
            near = difflib.get_close_matches(name, names, n=3)
            hint = f"the nearest ones are {', '.join(near)}" if near else f"it has {', '.join(names)}"
        raise SpecError(f"{self.name} has no setting {name!r}; {hint}.")


VERSION = "version"  # the setting of a search that a study keeps
LATEST_VERSION = 6

SEARCHES: Registry[Search] = Registry("search", "model_search.search.algorithms", "model_search.register_search")


def search_type(spec: PhoenixSpec) -> str:
    """Name of the search, whichever field gives it; the default one where none is given."""
    if spec.search:
        return spec.search
    name = PhoenixSpec.SearchType.Name(spec.search_type)
    return supported.DEFAULT_SEARCH_TYPE if spec.search_type == PhoenixSpec.UNKNOWN_SEARCH_TYPE else name


def with_version(spec: PhoenixSpec, version: int) -> PhoenixSpec:
    """The specification with the version of its search, unless it names one, or the search has no versions.

    A search that changes how it proposes declares a setting `version`, whose default is the latest one. Studies go on
    as they began.

    Args:
        spec: A checked specification.
        version: `LATEST_VERSION` when the study began.
    """
    search = SEARCHES.find(search_type(spec))
    has_versions = search is not None and any(setting.name == VERSION for setting in search.settings)
    if not has_versions or VERSION in spec.search_settings.hparam:
        return spec
    found = PhoenixSpec()
    found.CopyFrom(spec)
    found.search_settings.hparam[VERSION].int64_value = version
    return found


def message_owners() -> Mapping[str, frozenset[str]]:
    """The fields that hold settings of a search, with the searches that they are for."""
    return _gathered((search.message, search.name) for search in _all() if search.message)


def readers() -> Mapping[str, frozenset[str]]:
    """The fields that only some searches read, with those searches."""
    return _gathered((field, search.name) for search in _all() for field in search.reads)


def _all() -> list[Search]:
    return [SEARCHES.get(name) for name in SEARCHES]


def _gathered(pairs: Any) -> dict[str, frozenset[str]]:
    found: dict[str, set[str]] = {}
    for field, name in pairs:
        found.setdefault(field, set()).add(name)
    return {field: frozenset(names) for field, names in found.items()}


def _plain(name: str, given: HParamDef.HParamType) -> SettingValue:
    kind = given.WhichOneof("kind")
    if kind is None or kind.endswith("_list"):
        raise SpecError(f"{name} {'is a list' if kind else 'has no value'}; expected one number, text or truth value.")
    value = getattr(given, kind)
    if isinstance(value, bytes):
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError:
            raise SpecError(f"{name} is not text in UTF-8: {value!r}.") from None
    if isinstance(value, float):
        return float(f"{value:.7g}")
    plain: SettingValue = value
    return plain
