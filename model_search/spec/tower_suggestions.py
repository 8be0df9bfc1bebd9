"""Towers as a specification suggests or replays them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from model_search.proto.phoenix_spec_pb2 import TowerSuggestion

_KINDS: Mapping[type, str] = {bool: "bool_value", int: "int64_value", float: "float_value"}


def tower_suggestion(
    architecture: Sequence[str], hyperparameters: Mapping[str, bool | int | float | str]
) -> TowerSuggestion:
    """A tower with its hyperparameters, for `user_suggestions` or `replay.towers`."""
    tower = TowerSuggestion(architecture=architecture)
    for name, value in hyperparameters.items():
        kind = _KINDS.get(type(value))
        if kind is None:
            tower.hparams.hparam[name].bytes_value = str(value).encode()
        else:
            setattr(tower.hparams.hparam[name], kind, value)
    return tower
