"""Gives a tower the function of the smaller, trained one that it was grown from."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import keras
import numpy as np

from model_search.errors import NoMorphismError
from model_search.towers.morphisms.insertion import learn_statistics
from model_search.towers.morphisms.matching import Matching
from model_search.towers.morphisms.tensors import is_same

_MOST_ALIGNMENTS = 64

Predict = Callable[[keras.Model], np.ndarray]


class Traced(NamedTuple):
    """A tower with what each of its blocks reads and writes.

    Attributes:
        model: Inputs to logits.
        architecture: Its blocks.
        tensors: The input of the first block, and the output of each block.
    """

    model: keras.Model
    architecture: Sequence[str]
    tensors: Sequence[keras.KerasTensor]


def morph(new: Traced, old: Traced, rng: np.random.Generator, predict: Predict | None = None) -> None:
    """Gives the new tower weights with which its logits are those of the old one, in inference mode.

    Blocks may have been inserted, layers widened and kernels enlarged. Which block of the new tower is which of the
    old one is tried out, those of the same name first. After Chen, Goodfellow and Shlens, "Net2Net", ICLR 2016, and Wei
    et al., "Network Morphism", ICML 2016.

    Args:
        new: The tower, with fresh weights.
        old: The trained tower.
        rng: Decides how repeated units share their weights.
        predict: Runs a model on some training rows, so that inserted batch normalisation begins with their statistics.

    Raises:
        NoMorphismError: if the new tower cannot have the function of the old one, as far as is known here; its weights
            are then as they were.
    """
    reason = ""
    for inserted in itertools.islice(_alignments(new.architecture, old.architecture), _MOST_ALIGNMENTS):
        pairs = [(new.tensors[at + 1], new.tensors[at]) for at in inserted]
        matching = Matching({id(end): begin for end, begin in pairs if end is not begin}, rng)
        try:
            channels = matching.channels(new.model.outputs[0], old.model.outputs[0])
        except NoMorphismError as error:
            reason = reason or str(error)
            continue
        if is_same(channels) and len(channels) == old.model.outputs[0].shape[-1]:
            for variable in new.model.weights:
                if id(variable) in matching.weights:
                    variable.assign(matching.weights[id(variable)])
            if predict is not None:
                learn_statistics(new.model, matching.normalisations, predict)
            return
    blocks, before = " > ".join(new.architecture), " > ".join(old.architecture)
    raise NoMorphismError(f"{blocks} cannot begin as {before}: {reason or 'blocks are missing'}")


def _alignments(new: Sequence[str], old: Sequence[str]) -> Iterator[tuple[int, ...]]:
    """The places of the new blocks that may have been inserted: those with the most blocks of the same name first."""
    more = len(new) - len(old)
    if more < 0:
        return
    choices = list(itertools.islice(itertools.combinations(range(len(new)), more), 4 * _MOST_ALIGNMENTS))

    def others(places: tuple[int, ...]) -> int:
        kept = [name for at, name in enumerate(new) if at not in places]
        return sum(one != other for one, other in zip(kept, old, strict=True))

    yield from sorted(choices, key=lambda places: (others(places), [-at for at in reversed(places)]))
