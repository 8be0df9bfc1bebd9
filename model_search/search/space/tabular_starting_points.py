"""Starting points for the blocks of tables: for small, middle and large ones."""

from __future__ import annotations

from collections.abc import Mapping

from model_search.metadata.trial import HyperparameterValue
from model_search.problem import StartingPoint

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
_FEW, _MANY = 1_000, 5_000
TABULAR_STARTING_POINTS = (
    StartingPoint(("PLE_32", "MLP_64", "MLP_64", "MLP_64"), _USUAL, most_rows=_FEW - 1),
    StartingPoint(("PLE_32", "MLP_128", "MLP_128", "MLP_128"), _USUAL, _FEW, _MANY - 1),
    StartingPoint(("PLE_48", "MLP_256", "MLP_256", "MLP_256"), _USUAL, _MANY),
    StartingPoint(("PLE_16", "MLP_64"), {**_USUAL, "learning_rate": 0.005}, most_rows=_FEW - 1),
    StartingPoint(("PLE_32", "TABM_8_64_3"), {**_USUAL, "learning_rate": 0.005}, most_rows=20_000),
    StartingPoint(("PBLD_16_4", "MLP_128", "MLP_128", "MLP_128"), _USUAL, _FEW, _MANY - 1),
    StartingPoint(("PBLD_16_4", "MLP_256", "MLP_256", "MLP_256"), _USUAL, _MANY),
)
