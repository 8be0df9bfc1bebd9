"""Names of a tower's weights that do not depend on where in the tower a block stands.

A weight of the second FULLY_CONNECTED block of a tower is `FULLY_CONNECTED#2/dense/kernel`: the block, its occurrence
from 1, the part of the block, and the variable. What belongs to no block keeps the name of its layer:
`logits/kernel`. A block that is inserted leaves the names of all other blocks as they are, unless it is of the same
name and comes before them, so what of a trained tower fits another one follows from two files (`transfer`).

In a tower that an ensemble has fine-tuned, the weights of a member are stored under `member_<trial>/`.

Never imports Keras: a model is read through `layers`, `weights` and `path`.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from model_search.errors import TrialError

if TYPE_CHECKING:
    import keras

Shape = tuple[int, ...]

_MOST_TOLD = 3  # weights that a message names
_NUMBERED = re.compile(r"(.+?)_\d+")


def layer_prefix(position: int, lookup_name: str) -> str:
    """What the names of a block's layers begin with, `<position>_<BLOCK>`; positions count from 0."""
    return f"{position}_{plain_name(lookup_name)}"


def block_names(architecture: Sequence[str]) -> tuple[str, ...]:
    """Each block of an architecture with its occurrence: `("A", "B", "A")` gives `A#1`, `B#1`, `A#2`."""
    seen: Counter[str] = Counter()
    names = []
    for block in map(plain_name, architecture):
        seen[block] += 1
        names.append(f"{block}#{seen[block]}")
    return tuple(names)


def tower_weight_names(model: keras.Model, architecture: Sequence[str]) -> tuple[str, ...]:
    """The names of a tower's weights.

    Args:
        model: As `build_tower` makes it.
        architecture: Its blocks, input to output.

    Returns:
        Different names, in the order of `model.weights` (and of `model.get_weights()`).
    """
    prefixes = {layer_prefix(i, block): name for i, (block, name) in enumerate(_occurrences(architecture))}
    found: dict[int, str] = {}
    for layer in model.layers:
        owner = _owner(layer.name, prefixes)
        variables = [variable for variable in layer.weights if id(variable) not in found]
        parts = _renumbered(_inner_path(variable.path, layer) for variable in variables)
        found |= {id(v): f"{owner}/{part}" for v, part in zip(variables, parts, strict=True)}
    return in_order_of(model, found)


def in_order_of(model: keras.Model, names: Mapping[int, str]) -> tuple[str, ...]:
    """Names by the `id` of a variable, in the order of `model.weights`; a variable without one goes by its path."""
    return tuple(_distinct(names.get(id(variable), variable.path) for variable in model.weights))


def transfer(
    source: Mapping[str, np.ndarray], target: Mapping[str, Shape]
) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """What of one tower's stored weights another tower can take over, by name; a pure function of two files.

    A child that has a block more than its parent, anywhere, takes over every other block whose shapes are the same:
    `[A, B]` gives `[A, X, B]` its A and, unless X changes the width, its B. Nothing is cut or padded.

    Args:
        source: Named weights, as a trial stores them. Numbered ones (of a former version) say nothing of what they
            are; `with_names` gives them the names of the tower that they come from.
        target: The shape of each weight of the tower to be filled, by name.

    Returns:
        The arrays that fit, by name in the order of the target, and the names of the target's weights that the source
        has no array of the same shape for.
    """
    fitting = {name: source[name] for name, shape in target.items() if name in source and source[name].shape == shape}
    return fitting, tuple(name for name in target if name not in fitting)


def is_numbered(weights: Mapping[str, Any]) -> bool:
    """Whether weights are stored as former versions did, under "0000", "0001", ... in the order of the model."""
    return bool(weights) and all(name.isdigit() for name in weights)


def with_names(weights: Mapping[str, np.ndarray], names: Sequence[str]) -> dict[str, np.ndarray]:
    """Weights by name: named ones as they are, numbered ones under the names of the tower that they come from.

    Raises:
        TrialError: if there are more, or fewer, numbered weights than names.
    """
    if not is_numbered(weights):
        return dict(weights)
    if len(weights) != len(names):
        raise TrialError(f"there are {len(weights)} numbered weights, and the tower has {len(names)}")
    return {name: weights[number] for name, number in zip(names, sorted(weights, key=int), strict=True)}


def fitted(weights: Mapping[str, np.ndarray], target: Mapping[str, Shape], whose: str) -> list[np.ndarray]:
    """Stored weights in the order of a tower, all of them checked.

    Args:
        weights: Named, in any order, or numbered.
        target: The shape of each weight of the tower, by name in the order of `model.get_weights()`.
        whose: The weights and the tower in words, "the weights of trial 3 do not fit its plan", for the message.

    Raises:
        TrialError: if a name or a shape is another one; the message names what does not fit.
    """
    if is_numbered(weights) and len(weights) != len(target):
        raise TrialError(f"{whose}: there are {len(weights)} arrays, expected {len(target)}")
    named = with_names(weights, tuple(target))
    fitting, missing = transfer(named, target)
    wrong = [f"{name} has the shape {named[name].shape}, expected {target[name]}" for name in missing if name in named]
    absent = [name for name in missing if name not in named]
    unknown = [name for name in named if name not in target]
    problems = [
        *([_listed(wrong)] if wrong else []),
        *([f"without an array for {_listed(absent)}"] if absent else []),
        *([f"the tower has no {_listed(unknown)}"] if unknown else []),
    ]
    if problems:
        raise TrialError(f"{whose}: {'; '.join(problems)}")
    return [fitting[name] for name in target]


def plain_name(text: str) -> str:
    """A text with "_" in place of whatever a layer's name should not have."""
    return re.sub(r"[^A-Za-z0-9_.-]", "_", text)


def _occurrences(architecture: Sequence[str]) -> Iterator[tuple[str, str]]:
    return zip(architecture, block_names(architecture), strict=True)


def _owner(layer: str, prefixes: Mapping[str, str]) -> str:
    """The block and the part of it that a layer is; the layer's own name where it belongs to no block."""
    for prefix, block in prefixes.items():
        if layer == prefix:
            return block
        if layer.startswith(f"{prefix}_"):
            return f"{block}/{layer.removeprefix(f'{prefix}_')}"
    return layer


def _inner_path(path: str, layer: keras.layers.Layer) -> str:
    """A variable's path below its layer; the layer may have been renamed after its variables were made."""
    for own in (layer.path, layer.name):
        if own and path.startswith(f"{own}/"):
            return path.removeprefix(f"{own}/")
    return path


def _renumbered(paths: Iterable[str]) -> list[str]:
    """Paths below one layer with the numbers that Keras appends counted anew.

    A nested layer without a name is `dense_7` because six others came before it in this tower, not because of what it
    is. Here the first one below a layer is `dense`, the next `dense_1`.
    """
    known: defaultdict[str, dict[str, str]] = defaultdict(dict)  # what each scope's names have become
    counts: Counter[str] = Counter()
    found = []
    for path in paths:
        scope = ""
        for piece in path.split("/"):
            names = known[scope]
            if piece not in names:
                match = _NUMBERED.fullmatch(piece)
                base = plain_name(match[1] if match else piece)
                count = counts[f"{scope}/{base}"]
                names[piece] = f"{base}_{count}" if count else base
                counts[f"{scope}/{base}"] += 1
            scope = f"{scope}/{names[piece]}" if scope else names[piece]
        found.append(scope)
    return _distinct(found)


def _distinct(names: Iterable[str]) -> list[str]:
    """Names as they are; one that was there before gets a number."""
    seen: set[str] = set()
    found = []
    for name in names:
        one, count = name, 1
        while one in seen:
            one, count = f"{name}~{count}", count + 1
        seen.add(one)
        found.append(one)
    return found


def _listed(items: Sequence[str]) -> str:
    more = f" and {len(items) - _MOST_TOLD} more" if len(items) > _MOST_TOLD else ""
    return ", ".join(items[:_MOST_TOLD]) + more
