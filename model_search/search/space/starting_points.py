"""Starting points of a search: towers that were good on other data, with their hyperparameters.

They warm-start a search that has no trials of its own yet. The towers of each problem type are in `problem.py`. Those
for maps and sequences are small forms of well-known networks. The ones made of the blocks for tables are in
`tabular_starting_points.py`. The other ones for vectors were chosen on seven tables of
different origin, size and task, not those of `benchmarks/search_on_data.py`; `benchmarks/starting_points.py` chooses
them. After Feurer et al., "Initializing Bayesian Hyperparameter Optimization via Meta-Learning", AAAI 2015, and, for
how they are chosen, Feurer et al., "Auto-sklearn 2.0", JMLR 2022 (greedily: each one improves most on those before).
"""

from __future__ import annotations

import dataclasses

from model_search.metadata.trial import HyperparameterValue
from model_search.problem import VECTOR_RANK, StartingPoint
from model_search.search.space.grammar import Grammar
from model_search.search.space.hyperparameter_space import Space
from model_search.search.space.tabular_starting_points import TABULAR_STARTING_POINTS

__all__ = ["StartingPoint", "starting_points"]


def starting_points(grammar: Grammar, space: Space) -> tuple[StartingPoint, ...]:
    """The starting points of the problem type that lie in the search space, in their order.

    A tower with a block that the specification does not name (or not for its position), or of a depth that it does not
    allow, is left out; so is a hyperparameter that is not searched, or whose range does not contain the value.
    """
    problem = grammar.problem_type
    return tuple(
        dataclasses.replace(point, hyperparameters=_searched(point, space))
        for point in (*problem.starting_points, *_of_tables(grammar))
        if grammar.fits(point.architecture)
        and set(point.architecture) <= {*grammar.blocks, problem.added_block, problem.first_block}
        and problem.first_block in (None, point.architecture[0])
        and grammar.minimum_depth <= len(point.architecture) <= grammar.maximum_depth
    )


def _of_tables(grammar: Grammar) -> tuple[StartingPoint, ...]:
    return TABULAR_STARTING_POINTS if grammar.problem_type.input_rank == VECTOR_RANK else ()


def _searched(point: StartingPoint, space: Space) -> dict[str, HyperparameterValue]:
    kept: dict[str, HyperparameterValue] = {}
    for parameter in space.active(point.architecture).parameters:
        value = point.hyperparameters.get(parameter.name)
        if value is not None and parameter.is_active(kept) and parameter.holds(value):
            kept[parameter.name] = value
    if "optimizer" not in kept:
        # A learning rate only suits its own optimizer.
        kept.pop("learning_rate", None)
    return kept
