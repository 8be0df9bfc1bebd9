"""A tower of cells as a function of shared weights and of what is chosen at each position.

The same computation as `blocks/cells/network.py`, whose names its weights have. Each edge of each cell has weights of
its own for every operation, whatever it reads; nodes are told apart by their place in the canonical form of a graph.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from model_search.blocks.cells.network import STEM_KERNEL, PlacedCell, edge_name, placed_cells
from model_search.blocks.cells.operations import CONVOLUTIONS, POOL_SIZE
from model_search.cells import CellKind, CellLayout
from model_search.training.runtime import tensorflow

EPSILON = 1e-3  # of batch normalisation, as in Keras
_SAME = "SAME"


class Choice(Protocol):
    """What is chosen at each position."""

    def one_of(self, position: int, makers: Sequence[Callable[[], Any]]) -> Any:
        """The output of the chosen maker, or a mixture of them all; their outputs have one shape."""


@dataclasses.dataclass(frozen=True)
class Path:
    """One choice at each position: only what is chosen is computed.

    Attributes:
        choices: int32 [positions], a tensor.
    """

    choices: Any

    def one_of(self, position: int, makers: Sequence[Callable[[], Any]]) -> Any:
        """See `Choice`."""
        if len(makers) == 1:
            return makers[0]()
        return tensorflow().switch_case(self.choices[position], list(makers))


@dataclasses.dataclass(frozen=True)
class Mixture:
    """Everything, weighted.

    Attributes:
        shares: For each position the weights of its choices, float32 [choices].
    """

    shares: Sequence[Any]

    def one_of(self, position: int, makers: Sequence[Callable[[], Any]]) -> Any:
        """See `Choice`."""
        if len(makers) == 1:
            return makers[0]()
        share = self.shares[position]
        return tensorflow().add_n([share[number] * make() for number, make in enumerate(makers)])


@dataclasses.dataclass(frozen=True)
class Sampled:
    """One choice at each position, through which gradients reach its share.

    Its output is multiplied by one, a one whose gradient is that of the share (Dong and Yang, "Searching for a Robust
    Neural Architecture in Four GPU Hours", CVPR 2019).

    Attributes:
        choices: int32 [positions], a tensor.
        shares: For each position the weights of its choices, float32 [choices].
    """

    choices: Any
    shares: Sequence[Any]

    def one_of(self, position: int, makers: Sequence[Callable[[], Any]]) -> Any:
        """See `Choice`."""
        if len(makers) == 1:
            return makers[0]()
        tf = tensorflow()
        chosen = self.choices[position]
        share = tf.gather(self.shares[position], chosen)
        return tf.switch_case(chosen, list(makers)) * (1.0 + share - tf.stop_gradient(share))


class SharedNetwork:
    """A tower of cells for maps.

    Attributes:
        shapes: The shape of each weight, by name.

    Args:
        positions: The blocks that may stand at each position.
        layout: How often cells are repeated, and their channels.
        shape: Of a map: height, width, channels.
        outputs: Width of the logits.
    """

    def __init__(
        self, positions: Sequence[Sequence[str]], layout: CellLayout, shape: tuple[int, ...], outputs: int
    ) -> None:
        self._positions = positions
        self._starts = _starts(positions)
        self._cells = tuple(placed_cells(layout))
        self._stem_stride = layout.stem_stride
        self.shapes: dict[str, tuple[int, ...]] = {}
        self._declare(layout, shape, outputs)

    def initial(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Fresh weights, as Keras makes them."""
        return {name: _fresh(name, shape, rng) for name, shape in self.shapes.items()}

    def logits(self, weights: Mapping[str, Any], maps: Any, choice: Choice, reference: int | None = None) -> Any:
        """The logits of maps.

        Args:
            weights: By name.
            maps: float32 [batch, height, width, channels].
            choice: What is chosen at each position.
            reference: How many maps, the first ones, the statistics of batch normalisation are those of; all if None.
        """
        tf = tensorflow()
        run = _Run(weights, choice, reference)
        stem = tf.nn.conv2d(maps, weights["stem_convolution/kernel"], self._stem_stride, _SAME)
        before = last = run.normalised(stem, "stem_norm")
        for cell in self._cells:
            before, last = last, self._cell(cell, run, (before, last))
        features = tf.reduce_mean(tf.nn.relu(last), axis=[1, 2])
        return features @ weights["logits/kernel"] + weights["logits/bias"]

    def _start(self, cell: PlacedCell) -> tuple[int, int]:
        """The first position of a cell's graph, and its number of nodes."""
        return self._starts.get(cell.kind, self._starts[CellKind.NORMAL])

    def _cell(self, cell: PlacedCell, run: _Run, inputs: tuple[Any, Any]) -> Any:
        tf = tensorflow()
        size = -(-inputs[-1].shape[1] // cell.stride)
        tensors = [run.entrance(f"{cell.name}_input_{number}", tensor, size) for number, tensor in enumerate(inputs)]
        first, nodes = self._start(cell)
        for node in range(nodes):
            edges = [self._edge(cell, run, tensors, (node, edge), first + 4 * node + 2 * edge) for edge in range(2)]
            tensors.append(edges[0] + edges[1])
        return tf.concat(tensors[2:], axis=-1)

    def _edge(self, cell: PlacedCell, run: _Run, tensors: list[Any], place: tuple[int, int], position: int) -> Any:
        known = tensors[: len(self._positions[position])]
        source = run.choice.one_of(position, [_giving(tensor) for tensor in known])
        source.set_shape(known[0].shape)
        makers = [
            _applying(run, operation, source, edge_name(cell, *place, operation))
            for operation in self._positions[position + 1]
        ]
        found = run.choice.one_of(position + 1, makers)
        found.set_shape(known[0].shape)
        return found

    def _declare(self, layout: CellLayout, shape: tuple[int, ...], outputs: int) -> None:
        self._convolution("stem", "stem_norm", (STEM_KERNEL, STEM_KERNEL, shape[-1], layout.channels))
        widths = [layout.channels, layout.channels]
        for cell in self._cells:
            for number, width in enumerate(widths):
                name = f"{cell.name}_input_{number}"
                self._convolution(name, f"{name}_norm", (1, 1, width, cell.channels))
            first, nodes = self._start(cell)
            for node in range(nodes):
                for edge in range(2):
                    for operation in self._positions[first + 4 * node + 2 * edge + 1]:
                        self._operation(edge_name(cell, node, edge, operation), operation, cell.channels)
            widths = [widths[1], nodes * cell.channels]
        self.shapes |= {"logits/kernel": (widths[1], outputs), "logits/bias": (outputs,)}

    def _operation(self, name: str, operation: str, channels: int) -> None:
        if operation not in CONVOLUTIONS:
            return
        size, _, separable = CONVOLUTIONS[operation]
        if separable:
            self.shapes[f"{name}_depthwise/kernel"] = (size, size, channels, 1)
            size = 1
        self._convolution(name, f"{name}_norm", (size, size, channels, channels))

    def _convolution(self, name: str, norm: str, shape: tuple[int, ...]) -> None:
        self.shapes[f"{name}_convolution/kernel"] = shape
        self.shapes |= {f"{norm}/{part}": shape[-1:] for part in ("gamma", "beta")}


@dataclasses.dataclass(frozen=True)
class _Run:
    """One pass: the weights, the choices, and the rows that statistics are taken of."""

    weights: Mapping[str, Any]
    choice: Choice
    reference: int | None

    def entrance(self, name: str, tensor: Any, size: int) -> Any:
        tf = tensorflow()
        tensor = tf.nn.relu(tensor)
        factor = -(-tensor.shape[1] // size)
        if factor > 1:
            tensor = tf.nn.avg_pool2d(tensor, factor, factor, _SAME)
        return self.normalised(
            tf.nn.conv2d(tensor, self.weights[f"{name}_convolution/kernel"], 1, _SAME), f"{name}_norm"
        )

    def operation(self, operation: str, tensor: Any, name: str) -> Any:
        tf = tensorflow()
        if operation == "CELL_AVERAGE_POOLING_3X3":
            return tf.nn.avg_pool2d(tensor, POOL_SIZE, 1, _SAME)
        if operation == "CELL_MAX_POOLING_3X3":
            return tf.nn.max_pool2d(tensor, POOL_SIZE, 1, _SAME)
        if operation not in CONVOLUTIONS:
            return tf.identity(tensor)
        _, dilation, separable = CONVOLUTIONS[operation]
        tensor = tf.nn.relu(tensor)
        if separable:
            tensor = tf.nn.depthwise_conv2d(tensor, self.weights[f"{name}_depthwise/kernel"], [1, 1, 1, 1], _SAME)
        kernel = self.weights[f"{name}_convolution/kernel"]
        return self.normalised(tf.nn.conv2d(tensor, kernel, 1, _SAME, dilations=dilation), f"{name}_norm")

    def normalised(self, tensor: Any, name: str) -> Any:
        """Batch normalisation with the statistics of the first rows."""
        tf = tensorflow()
        gamma, beta = self.weights[f"{name}/gamma"], self.weights[f"{name}/beta"]
        first = tensor if self.reference is None else tensor[: self.reference]
        found = tf.raw_ops.FusedBatchNormV3(
            x=first, scale=gamma, offset=beta, mean=[], variance=[], epsilon=EPSILON, is_training=True
        )
        if self.reference is None:
            return found.y
        count = tf.cast(tf.size(first) // first.shape[-1], tf.float32)
        variance = found.batch_variance * (count - 1.0) / count  # the operation's is unbiased
        others = tf.raw_ops.FusedBatchNormV3(
            x=tensor[self.reference :],
            scale=gamma,
            offset=beta,
            mean=found.batch_mean,
            variance=variance,
            epsilon=EPSILON,
            is_training=False,
        )
        return tf.concat([found.y, others.y], axis=0)


def _starts(positions: Sequence[Sequence[str]]) -> dict[CellKind, tuple[int, int]]:
    """For each kind of cell its first position, and its number of nodes."""
    found: dict[CellKind, tuple[int, int]] = {}
    for kind in (CellKind.NORMAL, CellKind.REDUCTION):
        places = [place for place, names in enumerate(positions) if names[0] == kind.input_block(0)]
        if places:
            found[kind] = (places[0], len(places) // kind.edges)
    return found


def _giving(tensor: Any) -> Callable[[], Any]:
    return lambda: tensorflow().identity(tensor)


def _applying(run: _Run, operation: str, source: Any, name: str) -> Callable[[], Any]:
    return lambda: run.operation(operation, source, name)


def _fresh(name: str, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    if not name.endswith("kernel"):
        return np.full(shape, float(name.endswith("gamma")), np.float32)
    places = math.prod(shape[:-2])
    limit = math.sqrt(6.0 / (places * (shape[-2] + shape[-1])))
    return rng.uniform(-limit, limit, shape).astype(np.float32)
