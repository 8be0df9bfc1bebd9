"""Macro towers: convolutions that read any earlier ones, as blocks of an architecture and as JSON.

Each layer of a macro tower is a convolution of a height, a width, a number of filters and a stride, and reads some of
the layers before it; the picture, where it reads none. After Zoph and Le, "Neural Architecture Search with
Reinforcement Learning", ICLR 2017, section 3.3.

In an architecture a layer is four blocks for its convolution, and one for each earlier layer that says whether it is
read: layer 2 is six blocks::

    MACRO_HEIGHT_3, MACRO_WIDTH_5, MACRO_FILTERS_36, MACRO_STRIDE_1, MACRO_NO_SKIP, MACRO_SKIP
    {"height": 3, "width": 5, "filters": 36, "stride": 1, "inputs": [1]}
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from model_search.errors import SpecError

MOST_LAYERS = 12
# What layers may be, by field, in the order of their blocks; the usual choices are those of the paper.
CHOICES = {
    "height": (1, 3, 5, 7),
    "width": (1, 3, 5, 7),
    "filters": (4, 8, 16, 24, 32, 36, 48, 64, 96, 128),
    "stride": (1, 2, 3),
}
USUAL = {"height": (1, 3, 5, 7), "width": (1, 3, 5, 7), "filters": (24, 36, 48, 64), "stride": (1,)}
PLURALS = {"height": "heights", "width": "widths", "filters": "filters", "stride": "strides"}  # fields of `cell`
SKIP, NO_SKIP = "MACRO_SKIP", "MACRO_NO_SKIP"


def part(field: str, value: int) -> str:
    """The block that gives a field of a layer its value."""
    return f"MACRO_{field.upper()}_{value}"


_VALUES = {part(field, value): (field, value) for field, values in CHOICES.items() for value in values}
PARTS = frozenset((*_VALUES, SKIP, NO_SKIP))


@dataclasses.dataclass(frozen=True)
class Layer:
    """A layer of a macro tower.

    Attributes:
        height: Of the kernel.
        width: Of the kernel.
        filters: Number of them.
        stride: By which height and width of the maps are divided.
        inputs: The layers that it reads, by number from 0; the picture where it reads none.
    """

    height: int
    width: int
    filters: int
    stride: int
    inputs: tuple[int, ...] = ()

    @property
    def words(self) -> str:
        """The layer for people."""
        stride = f"/{self.stride}" if self.stride > 1 else ""
        return f"{self.height}x{self.width}x{self.filters}{stride}({','.join(map(str, self.inputs)) or 'input'})"


def size_of(layer: int) -> int:
    """How many blocks a layer is: those of its convolution, and one for each earlier layer."""
    return len(CHOICES) + layer


def positions(layers: int, choices: Mapping[str, Sequence[int]]) -> Iterator[tuple[str, ...]]:
    """The blocks that may stand at each position of a macro tower.

    Args:
        layers: Number of layers.
        choices: The values that each field may have, in the order of `CHOICES`.
    """
    for layer in range(layers):
        for field in CHOICES:
            yield tuple(part(field, value) for value in choices[field])
        for _ in range(layer):
            yield (SKIP, NO_SKIP)


def part_range(architecture: Sequence[str]) -> range:
    """The positions of the blocks that make up a macro tower; empty where there are none."""
    places = [place for place, name in enumerate(architecture) if name in PARTS]
    return range(places[0], places[-1] + 1) if places else range(0)


def layers_of(architecture: Sequence[str]) -> tuple[Layer, ...]:
    """The layers of a macro tower.

    Raises:
        SpecError: if the blocks do not make up one.
    """
    places = part_range(architecture)
    blocks = list(architecture[places.start : places.stop])
    layers: list[Layer] = []
    while blocks:
        own, blocks = blocks[: size_of(len(layers))], blocks[size_of(len(layers)) :]
        found = [_VALUES.get(name, ("", 0)) for name in own[: len(CHOICES)]]
        skips = own[len(CHOICES) :]
        is_whole = [field for field, _ in found] == list(CHOICES) and len(skips) == len(layers)
        if not is_whole or any(name not in (SKIP, NO_SKIP) for name in skips) or len(layers) == MOST_LAYERS:
            raise SpecError(
                f"layer {len(layers)} of a macro tower is {', '.join(own)}; expected a block for each of "
                f"{', '.join(CHOICES)}, and {SKIP} or {NO_SKIP} for each of the {len(layers)} layers before it, in at "
                f"most {MOST_LAYERS} layers"
            )
        height, width, filters, stride = (value for _, value in found)
        inputs = tuple(number for number, name in enumerate(skips) if name == SKIP)
        layers.append(Layer(height, width, filters, stride, inputs))
    return tuple(layers)


def blocks_of(layers: Sequence[Layer]) -> tuple[str, ...]:
    """The blocks that make up a macro tower.

    Raises:
        SpecError: if a layer is none, or reads a later one.
    """
    if not 1 <= len(layers) <= MOST_LAYERS:
        raise SpecError(f"a macro tower has {len(layers)} layers; expected 1 to {MOST_LAYERS}")
    blocks: list[str] = []
    for number, layer in enumerate(layers):
        for field, known in CHOICES.items():
            value = getattr(layer, field)
            if value not in known:
                raise SpecError(f"layer {number} of a macro tower has {field} {value!r}; expected one of {known}")
            blocks.append(part(field, value))
        unknown = [read for read in layer.inputs if read not in range(number)]
        if unknown:
            raise SpecError(f"layer {number} of a macro tower reads {unknown[0]!r}; expected earlier layers, from 0")
        blocks += [SKIP if earlier in layer.inputs else NO_SKIP for earlier in range(number)]
    return tuple(blocks)


def to_values(architecture: Sequence[str]) -> list[dict[str, Any]]:
    """The layers as plain values, for JSON.

    Raises:
        SpecError: if the blocks do not make up a macro tower.
    """
    return [dataclasses.asdict(layer) for layer in layers_of(architecture)]


def from_values(values: Any) -> tuple[str, ...]:
    """The blocks of what `to_values` gave.

    Raises:
        SpecError: if it is something else.
    """
    try:
        layers = [Layer(**{**given, "inputs": tuple(given.get("inputs", ()))}) for given in values]
        if any(type(number) is not int for layer in layers for number in (*_numbers(layer), *layer.inputs)):
            raise TypeError("not all are whole numbers")
    except (TypeError, AttributeError) as error:
        form = '{"height": 3, "width": 3, "filters": 36, "stride": 1, "inputs": [0]}'
        raise SpecError(
            f"the layers of a macro tower are {str(values)[:80]} ({error}); expected a list of {form}"
        ) from error
    return blocks_of(layers)


def ends_of(layers: Sequence[Layer]) -> tuple[int, ...]:
    """The layers that no other reads: together they are the tower's output."""
    read = {number for layer in layers for number in layer.inputs}
    return tuple(number for number in range(len(layers)) if number not in read)


def _numbers(layer: Layer) -> tuple[int, ...]:
    return tuple(getattr(layer, field) for field in CHOICES)
