"""`register`, `lookup` and the like of the archived Model Search, for blocks and providers.

Blocks are kept by `model_search.blocks.catalogue`, providers by `model_search.data.provider`; these functions forward.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from model_search.blocks import catalogue
from model_search.blocks.block import Block
from model_search.blocks.registration import make_block, register_block
from model_search.data.provider import Provider, lookup_provider, register_provider
from model_search.errors import UserError


def register(
    base: type,
    init_args: Mapping[str, Any] | None = None,
    lookup_name: str | None = None,
    enum_id: int | None = None,
) -> Callable[[type], type]:
    """A decorator that registers a subclass of `base`, under its own name where `lookup_name` is None.

    Raises:
        UserError: if `base` is neither `Block` nor `Provider`, or the registration is refused.
    """
    _check_base(base)

    def decorate(cls: type) -> type:
        name = lookup_name or cls.__name__
        if base is Block:
            return register_block(name, init_args, enum_id)(cls)
        return register_provider(name, init_args)(cls)

    return decorate


def lookup(name: str, base: type) -> Any:
    """A new block or provider, as it was registered under that name; raises UserError where there is none."""
    _check_base(base)
    return make_block(name) if base is Block else lookup_provider(name)


def lookup_all(base: type) -> list[Any]:
    """A new block of every name; raises UserError unless `base` is `Block`."""
    return [make_block(name) for name in get_base_enum(base)]


def get_base_enum(base: type) -> dict[str, int]:
    """The number of every registered block by name; raises UserError unless `base` is `Block`."""
    if base is not Block:
        raise UserError(f"Only blocks have numbers and can be listed; expected the base Block, received {base!r}.")
    return {name: catalogue.get(name).enum_id for name in catalogue.names()}


def _check_base(base: type) -> None:
    if base not in (Block, Provider):
        raise UserError(f"{base!r} cannot be registered for; expected the base Block or Provider.")
