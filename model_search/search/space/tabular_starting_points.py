"""Starting points made of the blocks for tables, for small, middle and large ones.

The first is what is usual for piecewise-linear encodings (Gorishniy et al., NeurIPS 2022), in a width that goes with
the rows. The others encode or combine the columns in other ways, so that an ensemble has members that differ. Those for
small tables have one hidden layer or are regularised; `benchmarks/small_tables.py` compares them.
"""

from __future__ import annotations

from collections.abc import Mapping

from model_search.metadata.trial import HyperparameterValue
from model_search.problem import StartingPoint

# A dropout rate of -1 means none.
_USUAL: Mapping[str, HyperparameterValue] = {
    "optimizer": "adam",
    "learning_rate": 0.01,
    "dropout_rate": -1.0,
    "schedule": "cosine",
    "warmup_share": 0.05,
    "beta2": 0.95,
    "kernel_decay": 0.01,
    "label_smoothing": 0.0,
}
_SLOWER = {**_USUAL, "learning_rate": 0.005}
_REGULARISED = {**_USUAL, "learning_rate": 0.003, "dropout_rate": 0.29, "kernel_decay": 0.1}
_FEW, _MANY = 1_200, 5_000  # training rows
_MOST_OF_TABM = 20_000  # it takes several times as long as the others

TABULAR_STARTING_POINTS = (
    StartingPoint(("PLE_16", "MLP_64"), _SLOWER, most_rows=_FEW - 1),
    StartingPoint(("PLE_16", "GLU_64"), _REGULARISED, most_rows=_FEW - 1),
    StartingPoint(("PLE_32", "MLP_64", "MLP_64", "MLP_64"), _USUAL, most_rows=_FEW - 1),
    StartingPoint(("PLE_32", "MLP_128", "MLP_128", "MLP_128"), _USUAL, _FEW, _MANY - 1),
    StartingPoint(("PLE_48", "MLP_256", "MLP_256", "MLP_256"), _USUAL, _MANY),
    StartingPoint(("PLE_16", "GLU_64", "GLU_64"), _SLOWER, _FEW, _MANY - 1),
    StartingPoint(("PLE_16", "GLU_128", "GLU_128"), _SLOWER, _MANY),
    StartingPoint(("PLE_32", "TABM_8_64_3"), _SLOWER, _FEW, _MOST_OF_TABM),
)
