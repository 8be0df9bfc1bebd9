"""Checking which search a specification asks for, and its settings; each search brings its own check."""

from __future__ import annotations

from typing import TYPE_CHECKING

from model_search.proto.phoenix_spec_pb2 import PhoenixSpec
from model_search.spec.diagnostics import one_of
from model_search.spec.searches import SEARCHES, message_owners, search_type

if TYPE_CHECKING:
    from model_search.spec.check import Checker


def searches(checker: Checker) -> None:
    """The search is known, and is named once; the settings that are given make sense and are its own."""
    spec = checker.spec
    name = search_type(spec)
    if spec.search and spec.search_type and spec.search != PhoenixSpec.SearchType.Name(spec.search_type):
        checker.add(
            f"search is {spec.search!r} and search_type is {PhoenixSpec.SearchType.Name(spec.search_type)}; "
            "give only one of the two.",
            ("search",),
            ("search_type",),
        )
    search = SEARCHES.find(name)
    if search is None:
        checker.add(SEARCHES.unknown(name), ("search",), ("search_type",))
    else:
        search.check_settings(checker)
    owners = message_owners()
    given = spec.WhichOneof("search_spec")
    if given and name not in owners[given]:
        checker.add(f"{given} does not fit search_type {name}; it is for {one_of(owners[given])}.", (given,))
    # The settings that are given are checked, whether or not they are those of the search.
    checked = dict.fromkeys([name, *sorted(owners[given])] if given else [name])
    for declared in map(SEARCHES.find, checked):
        if declared is not None and declared.check is not None:
            declared.check(checker)
