"""A recurrent layer whose cell is a graph.

After Pham et al., "Efficient Neural Architecture Search via Parameter Sharing", ICML 2018: the first node reads the
step's input and the state, every other one reads one earlier node, each through a gate that keeps the rest of what it
reads. The new state is the mean of the nodes that nobody reads. Departures: no normalisation of the state, and gates
that begin almost closed (Srivastava et al., "Highway Networks", 2015, section 2.2), so that a state is kept over many
steps before anything is learnt; a state passes through several of them in each step.

Keras has no stock layer with such a cell, so the steps are unrolled: one model for a step, called once for each.
"""

from __future__ import annotations

import keras
from keras import layers, ops

from model_search.cells import CellKind, Graph
from model_search.errors import TrialError

MOST_STEPS = 256  # each adds a copy of the cell's operations
_ACTIVATIONS = {"CELL_TANH": "tanh", "CELL_RELU": "relu", "CELL_SIGMOID": "sigmoid", "CELL_LINEAR": "linear"}
_INITIALIZER = "glorot_uniform"
_GATE_BIAS = -3.0  # the sigmoid of it is 0.05


def activation_of(operation: str) -> str:
    """The Keras name of the activation of a node."""
    return _ACTIVATIONS[operation]


def recurrent_cell(sequence: keras.KerasTensor, graph: Graph, units: int, prefix: str) -> keras.KerasTensor:
    """The states after every step, float32 [batch, steps, units].

    Args:
        sequence: float32 [batch, steps, width].
        graph: The graph of the cell.
        units: Width of the state.
        prefix: What the names of all layers begin with.

    Raises:
        TrialError: if there are more steps than are unrolled.
    """
    steps = sequence.shape[1]
    if steps > MOST_STEPS:
        raise TrialError(
            f"a recurrent cell is unrolled, at most {MOST_STEPS} steps, and the sequences have {steps}; give shorter "
            "ones (max_steps), or search blocks such as LSTM_64"
        )
    # What the input adds to the first node, of all steps at once: its gate and its candidate.
    read = layers.Dense(
        2 * units, kernel_initializer=_INITIALIZER, bias_initializer=_biases(units), name=f"{prefix}recurrent_input"
    )(sequence)
    step = _step_model(graph, units, prefix)
    state = ops.zeros_like(read[:, 0, :units])
    states = []
    for number in range(steps):
        state = step([read[:, number], state])
        states.append(state)
    return ops.stack(states, axis=1)


def _biases(units: int) -> keras.Initializer:
    """Those of a gate and of a candidate, side by side."""
    return keras.initializers.Constant([_GATE_BIAS] * units + [0.0] * units)


def _step_model(graph: Graph, units: int, prefix: str) -> keras.Model:
    """From a step's part of the first node and the state before it to the state after it."""
    read, state = keras.Input([2 * units], name="read"), keras.Input([units], name="state")
    nodes: list[keras.KerasTensor] = []
    for number, ((previous, operation),) in enumerate(graph):
        source = nodes[previous - 1] if number else state
        both = layers.Dense(
            2 * units,
            use_bias=number > 0,
            kernel_initializer="orthogonal" if number == 0 else _INITIALIZER,
            bias_initializer=_biases(units),
            name=f"node_{number}_{operation.removeprefix('CELL_').lower()}",
        )(source)
        if number == 0:
            both = both + read
        gate = ops.sigmoid(both[:, :units])
        candidate = layers.Activation(activation_of(operation), name=f"node_{number}_activation")(both[:, units:])
        nodes.append(source + gate * (candidate - source))
    read_by_others = {previous for edges in graph for previous, _ in edges}
    ends = [node for number, node in enumerate(nodes) if number + CellKind.RECURRENT.offset not in read_by_others]
    output = ends[0] if len(ends) == 1 else layers.Average(name="new_state")(ends)
    return keras.Model([read, state], output, name=f"{prefix}recurrent_cell")
