"""From an architecture to a Keras model."""

from __future__ import annotations

import dataclasses
import math
import random
from collections.abc import Mapping
from typing import Any, NamedTuple

import keras
from keras import layers, ops

from model_search.blocks import catalogue
from model_search.blocks.block import Block, BlockSettings, call_block
from model_search.blocks.cells.tower import cell_tensor
from model_search.blocks.registration import make_block, own_settings
from model_search.cells import CellLayout, cell_range
from model_search.data.rows import InputSpecs, main_inputs
from model_search.errors import ModelSearchError, NoMorphismError, TrialError, UserError
from model_search.metadata.limits import MOST_PARAMETERS, MOST_PLAIN_NUMBERS
from model_search.problem import DEFAULT_PROBLEM_TYPE, SEQUENCE_RANK, ProblemType, problem_type
from model_search.towers.auxiliary import NAME, auxiliary_logits
from model_search.towers.branches import Branch, has_own_towers, several_towers
from model_search.towers.heads import add_head, last_step, without_mask
from model_search.towers.inputs import entrance, structured
from model_search.towers.mirrored import mean_with_mirrored
from model_search.towers.morphisms.morphism import Traced
from model_search.towers.naming import own_names, seeded
from model_search.towers.task_heads import TaskHead, add_task_heads
from model_search.towers.weight_names import layer_prefix


@dataclasses.dataclass(frozen=True)
class TowerSpec:
    """What is needed to build a tower.

    Attributes:
        architecture: Names of blocks, input to output.
        inputs: What the inputs of a row are, by name.
        logits_dimension: Width of the output.
        problem_type: Name of the problem type, see `problem.py`.
        dropout_rate: Share of the units dropped after every block; None or not above 0 for none.
        disable_last_dense_layer: The last block's output is the logits.
        block_hparams: A trial's hyperparameters; those named `<BLOCK>_<name>` are passed to that block, `cell_<name>`
            are the layout of cells.
        seed: Seed of the initial weights and of dropout.
        task_heads: Of each of several tasks, where one has blocks of its own; their logits stand side by side.
        test_time_flip: The logits are the mean of those for a picture and for its mirror image.
    """

    architecture: tuple[str, ...]
    inputs: InputSpecs
    logits_dimension: int
    problem_type: str = DEFAULT_PROBLEM_TYPE
    dropout_rate: float | None = None
    disable_last_dense_layer: bool = False
    block_hparams: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    seed: int = 0
    task_heads: tuple[TaskHead, ...] = ()
    test_time_flip: bool = False

    def __post_init__(self) -> None:
        if not self.architecture:
            raise UserError("The architecture names no block; name at least one.")
        if self.logits_dimension < 1:
            raise UserError(f"logits_dimension is {self.logits_dimension}; expected at least 1.")
        for name, spec in main_inputs(self.inputs).items():
            if not spec.shape or min(spec.shape) < 1:
                raise UserError(f"The input {name!r} has the shape {spec.shape} a row; expected at least one number.")
        if not self.inputs:
            raise UserError("A row has no inputs; name at least one.")
        if self.dropout_rate is not None and not self.dropout_rate < 1:
            raise UserError(f"dropout_rate is {self.dropout_rate}; expected a number below 1.")


def build_tower(spec: TowerSpec, most_parameters: int = MOST_PARAMETERS) -> keras.Model:
    """Builds a tower.

    Initial weights depend only on `spec.seed` and the position of each block. Names of layers are
    `<position>_<BLOCK>_<part>` (positions from 0) and `logits`, whatever was built before in this process.

    Args:
        spec: What to build.
        most_parameters: How many numbers its weights may have: of a stored tower, as many as are stored. Where the spec
            has large numbers they are counted before memory is taken for them.

    Returns:
        A functional model from the inputs (one by itself, several as a dict by name) to logits, float32
        [batch, logits_dimension] or, with a label for each step, [batch, steps, logits_dimension].

    Raises:
        UnsupportedError: if a block, or the problem type, cannot be built by this version.
        TrialError: if a block fails or returns something invalid, or the tower is too large.
    """
    _check_parameters(spec, most_parameters)
    with own_names():
        tower = _built(spec).tower
        return mean_with_mirrored(tower) if spec.test_time_flip else tower


def build_traced(spec: TowerSpec) -> Traced:
    """Builds a tower as it is trained, and says what each of its blocks reads and writes.

    Raises:
        NoMorphismError: if the inputs have towers of their own, so that a block has several outputs.
        UnsupportedError, TrialError: as `build_tower`.
    """
    _check_parameters(spec, MOST_PARAMETERS)
    with own_names():
        built = _built(spec)
    if len(built.tensors) != len(spec.architecture) + 1:
        raise NoMorphismError("the inputs of the tower have blocks of their own")
    return Traced(built.tower, spec.architecture, built.tensors)


def build_with_auxiliary_head(spec: TowerSpec) -> tuple[keras.Model, keras.Model]:
    """Builds a tower and the model that it is trained in, which has an auxiliary head besides (see `auxiliary.py`).

    Args:
        spec: What to build; `auxiliary_place` is not None for it.

    Returns:
        The tower as it is trained, and a model of the same layers whose outputs are the logits of the tower
        and of the head, [batch, 2, ..., logits_dimension].

    Raises:
        UnsupportedError, TrialError: as `build_tower`.
    """
    _check_parameters(spec, MOST_PARAMETERS)
    with own_names():
        built = _built(spec)
        with seeded(spec.seed, NAME):
            head = auxiliary_logits(
                built.tensors, spec.architecture, spec.problem_type, spec.logits_dimension, built.lengths
            )
        outputs = ops.stack([built.tower.outputs[0], head], axis=1)
        return built.tower, keras.Model(built.tower.input, outputs, name="tower_with_auxiliary_head")


class _Built(NamedTuple):
    """A tower, its input and the outputs of its blocks, and the lengths of its rows."""

    tower: keras.Model
    tensors: list[keras.KerasTensor]
    lengths: keras.KerasTensor | None


def _check_parameters(spec: TowerSpec, most_parameters: int) -> None:
    """Where the spec has large numbers, counts the weights before memory is taken for them."""
    if not _has_large_numbers(spec):
        return
    with own_names(), keras.StatelessScope(initialize_variables=False):
        found = sum(math.prod(weight.shape) for weight in _built(spec).tower.weights)
    if found > most_parameters:
        raise TrialError(f"the tower would have {found:,} parameters; expected {most_parameters:,} at most")


def _has_large_numbers(spec: TowerSpec) -> bool:
    sizes = [math.prod(one.shape) + one.vocabulary for one in spec.inputs.values()]
    sizes += [value for value in spec.block_hparams.values() if isinstance(value, int)]
    sizes.append(CellLayout.of(spec.block_hparams).widest)
    return sum(sizes) + spec.logits_dimension > MOST_PLAIN_NUMBERS


def _built(spec: TowerSpec) -> _Built:
    problem = problem_type(spec.problem_type)
    inputs, tower = _stacked(spec, problem)
    tensors, lengths = tower.tensors, tower.lengths
    if spec.disable_last_dense_layer:
        logits = _as_logits(tensors[-1], spec, lengths)
    elif spec.task_heads:
        logits = add_task_heads(tensors, spec.task_heads, problem.head, lengths, spec.seed)
    else:
        with seeded(spec.seed, "head"):
            logits = add_head(tensors[-1], spec.logits_dimension, problem.head, lengths)
    return _Built(keras.Model(structured(inputs), logits, name="tower"), tensors, lengths)


def _stacked(spec: TowerSpec, problem: ProblemType) -> tuple[Mapping[str, keras.KerasTensor], Branch]:
    """The Keras inputs of a tower, and the outputs of its blocks."""
    if has_own_towers(spec.inputs, problem):
        inputs, tensors = several_towers(spec.inputs, spec.architecture, problem, _Blocks(spec))
        return inputs, Branch("", tensors)
    begin = entrance(spec.inputs, problem.input_rank)
    vocabulary = max(one.vocabulary for one in spec.inputs.values())
    tower = Branch("", [begin.tensor], begin.lengths, vocabulary, begin.columns)
    for position in range(len(spec.architecture)):
        tower.tensors = _stack(spec, position, tower)
    return begin.inputs, tower


def _stack(spec: TowerSpec, position: int, branch: Branch) -> list[keras.KerasTensor]:
    """The tensors of a branch with the output of one more block; of the parts of cells the last one builds them all."""
    lookup_name = spec.architecture[position]
    own = f"_{branch.name}" if branch.name else ""
    of_cells = cell_range(spec.architecture)
    if position in of_cells:
        tensors = [*branch.tensors, branch.tensors[-1]]
        if position == of_cells[-1]:
            with seeded(spec.seed, f"cells{own}"):
                tensors[-1] = _cells(spec, branch, own)
        return tensors
    block = make_block(lookup_name, layer_prefix(position, lookup_name) + own)
    return _with_block(spec, block, lookup_name, branch, _drops_out(spec, position))


def _with_block(spec: TowerSpec, block: Block, name: str, branch: Branch, drops_out: bool) -> list[keras.KerasTensor]:
    """The tensors of a branch with the output of a block, with dropout where blocks have it."""
    info = catalogue.get(name)
    settings = own_settings(info, spec.block_hparams)
    if info.is_embedding and branch.vocabulary:
        settings = {"vocabulary": branch.vocabulary, **settings}
    with seeded(spec.seed, block.name):
        tensors = _apply(block, name, branch, BlockSettings(settings))
        if drops_out:
            tensors[-1] = _dropout(spec, block)(tensors[-1])
    return tensors


@dataclasses.dataclass(frozen=True)
class _Blocks:
    """Builds the blocks of a spec on the branches of several inputs."""

    spec: TowerSpec

    def searched(self, position: int, branch: Branch) -> list[keras.KerasTensor]:
        """The block at a position of the architecture."""
        return _stack(self.spec, position, branch)

    def own(self, name: str, place: int, branch: Branch) -> list[keras.KerasTensor]:
        """A block of an input's own."""
        block = make_block(name, f"input_{branch.name}_{layer_prefix(place, name)}")
        return _with_block(self.spec, block, name, branch, _has_dropout(self.spec))


def _cells(spec: TowerSpec, branch: Branch, own: str) -> keras.KerasTensor:
    """The output of the cells on a branch, with dropout where blocks have it."""
    prefix = f"{own.removeprefix('_')}_" if own else ""
    output = cell_tensor(branch.tensors[-1], spec.architecture, CellLayout.of(spec.block_hparams), prefix)
    if _drops_out(spec, cell_range(spec.architecture)[-1]):
        seed = random.randrange(2**31)  # noqa: S311 - no secret; the trial's seed decides
        output = layers.Dropout(spec.dropout_rate, seed=seed, name=f"{prefix}cells_dropout")(output)
    return output


def _drops_out(spec: TowerSpec, position: int) -> bool:
    is_logits = spec.disable_last_dense_layer and position == len(spec.architecture) - 1
    return _has_dropout(spec) and not is_logits


def _has_dropout(spec: TowerSpec) -> bool:
    return spec.dropout_rate is not None and spec.dropout_rate > 0


def _dropout(spec: TowerSpec, block: Block) -> layers.Dropout:
    return layers.Dropout(spec.dropout_rate, seed=random.randrange(2**31), name=f"{block.name}_dropout")  # noqa: S311 - no secret; the trial's seed decides


def _apply(block: Block, lookup_name: str, branch: Branch, settings: BlockSettings) -> list[keras.KerasTensor]:
    """Lets a block build; returns the tensors of the branch with its output appended."""
    info, tensors = catalogue.get(lookup_name), branch.tensors
    where = f"The block {lookup_name} on an input of shape {tuple(tensors[-1].shape)}"
    try:
        outputs = call_block(block, list(tensors), branch.lengths, settings, branch.columns)
    except ModelSearchError:
        raise
    except Exception as error:
        raise TrialError(f"{where} could not be built: {type(error).__name__}: {error}") from error
    if not isinstance(outputs, (list, tuple)) or not outputs:
        raise TrialError(f"{where} returned {_described(outputs)}; expected a list, `input_tensors + [output]`.")
    output = outputs[-1]
    if not isinstance(output, keras.KerasTensor):
        raise TrialError(f"{where} returned a list that ends with {_described(output)}; expected a Keras tensor.")
    if len(output.shape) < 2 or None in output.shape[1:]:
        raise TrialError(
            f"{where} returned a tensor of shape {tuple(output.shape)}; expected [batch, ...] of known sizes."
        )
    if info.builder is not None:
        _name_layers(output, tensors, block.name)
    return [*tensors, output]


def _described(value: Any) -> str:
    return (
        repr(value) if value is None or isinstance(value, (list, tuple)) else f"a value of type {type(value).__name__}"
    )


def _name_layers(output: keras.KerasTensor, known: list[keras.KerasTensor], prefix: str) -> None:
    """Gives the layers between `known` and `output` names that are unique in the tower."""
    seen = {id(tensor) for tensor in known}
    operations: dict[int, Any] = {}
    pending = [output]
    while pending:
        tensor = pending.pop()
        if id(tensor) in seen:
            continue
        seen.add(id(tensor))
        operation, node_index, _ = tensor._keras_history
        operations[id(operation)] = operation
        pending.extend(operation._inbound_nodes[node_index].input_tensors)
    for index, operation in enumerate(reversed(operations.values())):
        operation.name = f"{prefix}_{index}_{type(operation).__name__.lower()}"


def _as_logits(tensor: keras.KerasTensor, spec: TowerSpec, lengths: keras.KerasTensor | None) -> keras.KerasTensor:
    """The last block's output as logits; of a sequence with one label, its last valid step."""
    problem = problem_type(spec.problem_type)
    if problem.input_rank == SEQUENCE_RANK and not problem.label_per_step and len(tensor.shape) == 1 + SEQUENCE_RANK:
        tensor = last_step(tensor, lengths)
    if tensor.shape[-1] != spec.logits_dimension or len(tensor.shape) != 2 + problem.label_per_step:
        raise TrialError(
            f"disable_last_dense_layer makes the output of {spec.architecture[-1]} the logits; its shape is "
            f"{tuple(tensor.shape)}, expected (None, {spec.logits_dimension})."
        )
    return without_mask(tensor) if len(tensor.shape) > 2 else tensor
