"""`Block`, the unit that towers are built from. Never imports TensorFlow: only a block's `build` needs Keras."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from model_search.errors import UserError

if TYPE_CHECKING:
    import keras

    from model_search.data.rows import InputSpec

# Arguments that a block's build method may leave out.
_OPTIONAL = ("lengths", "hparams", "columns")
_WITH_OTHERS = frozenset({"lengths", "hparams"})  # what a method that takes any keyword gets without naming it


class BlockSettings(dict[str, Any]):
    """Values of a block's own hyperparameters by name (without the block's prefix); attributes read them, too."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"there is no hyperparameter {name!r}; there are {sorted(self)}") from None


class Block:
    """A part of a tower: reads the last of the tensors so far and appends its own output.

    A subclass overrides `build` (or `block_build`, its former name), which may leave out `lengths`, `hparams` or both,
    and is registered under one or more names with `register_block`. It builds with stock Keras layers and `keras.ops`:
    an exported model then loads with Keras alone.

    Attributes:
        name: Unique within a tower; a good prefix for names of layers.
    """

    name: str = "block"

    def __init__(self, name: str | None = None) -> None:
        self.name = type(self).name if name is None else name

    def build(
        self,
        input_tensors: list[keras.KerasTensor],
        is_training: bool | None,
        lengths: keras.KerasTensor | None = None,
        hparams: BlockSettings | None = None,
    ) -> list[keras.KerasTensor]:
        """Adds this block to a tower.

        A method that takes one more argument, `columns`, gets the `InputSpec` of `input_tensors[0]`, with what the
        training rows say of its columns; None if that is not a single vector.

        Args:
            input_tensors: The tower's input and the outputs of all blocks so far, float32 [batch, ...]; the last one is
                what the block reads, but it may look back.
            is_training: Always None: the same model is trained and predicts. Keras tells layers which of the two
                they are called for; `layer(x, training=is_training)` is right.
            lengths: int32 [batch], lengths of sequences; None where the data are not sequences.
            hparams: Values of what `requires_hparams` asks for.

        Returns:
            `input_tensors` with the output appended. The list itself may be returned where there is nothing to do.
        """
        if type(self).block_build is Block.block_build:
            raise UserError(f"The block class {type(self).__name__} has no build method; override Block.build.")
        return _call(self.block_build, input_tensors, is_training, (lengths, hparams, None))

    def block_build(
        self,
        input_tensors: list[keras.KerasTensor],
        is_training: bool | None,
        lengths: keras.KerasTensor | None = None,
        hparams: BlockSettings | None = None,
    ) -> list[keras.KerasTensor]:
        """The former name of `build`; one of the two is overridden."""
        if type(self).build is Block.build:
            raise UserError(f"The block class {type(self).__name__} has no build method; override Block.build.")
        return _call(self.build, input_tensors, is_training, (lengths, hparams, None))

    @property
    def is_input_order_important(self) -> bool:
        """Whether neighbours in the input belong together, as pixels and time steps do.

        In a CNN such blocks come before the one that flattens, the others after it.
        """
        return True

    @property
    def reads_token_ids(self) -> bool:
        """Whether it makes vectors [batch, steps, width] of token ids, int32 [batch, steps].

        In a specification that names such a block all towers begin with it. `hparams.vocabulary` is the number of
        different ids where the data say so, as text does.
        """
        return False

    def requires_hparams(self) -> Sequence[Any] | None:
        """What the search may choose for this block: `BlockHyperparameter`s, or a KerasTuner space of numbers."""
        return None


def call_block(
    block: Block,
    input_tensors: list[keras.KerasTensor],
    lengths: keras.KerasTensor | None = None,
    hparams: BlockSettings | None = None,
    columns: InputSpec | None = None,
) -> list[keras.KerasTensor]:
    """Lets a block build, with those of `lengths`, `hparams` and `columns` that it takes; see `Block.build`."""
    return _call(_own_method(block), input_tensors, None, (lengths, hparams, columns))


def accepted_arguments(block: Block) -> frozenset[str]:
    """Which of `lengths`, `hparams` and `columns` the block's build method takes."""
    return _accepted(_own_method(block))


def _own_method(block: Block) -> Callable[..., Any]:
    return block.block_build if type(block).build is Block.build else block.build


def _accepted(method: Callable[..., Any]) -> frozenset[str]:
    parameters = inspect.signature(method).parameters.values()
    by_name = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    named = frozenset(_OPTIONAL) & {parameter.name for parameter in parameters if parameter.kind in by_name}
    takes_all = any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters)
    return named | _WITH_OTHERS if takes_all else named


def _call(
    method: Callable[..., Any],
    input_tensors: list[keras.KerasTensor],
    is_training: bool | None,
    optional: tuple[keras.KerasTensor | None, BlockSettings | None, InputSpec | None],
) -> list[keras.KerasTensor]:
    accepted = _accepted(method)
    given = {name: value for name, value in zip(_OPTIONAL, optional, strict=True) if name in accepted}
    output: list[keras.KerasTensor] = method(input_tensors, is_training, **given)
    return output
