"""The short way: `model_search.fit(x, y)`, or `model_search.fit("train.csv", "label")`."""

from __future__ import annotations

import os
import secrets
import time as clock
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from model_search import constants
from model_search.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from model_search.data.provider import Provider
    from model_search.proto.phoenix_spec_pb2 import PhoenixSpec
    from model_search.study import Study

_MOST_SHOWN = 20  # names in a message


def fit(
    x: np.ndarray | pd.DataFrame | str | os.PathLike[str],
    y: np.ndarray | pd.Series | Sequence[Any] | str | None = None,
    *,
    number_models: int = 40,
    train_steps: int | None = None,
    batch_size: int | None = None,
    root_dir: str | os.PathLike[str] = "runs",
    experiment_name: str | None = None,
    spec: str | os.PathLike[str] | PhoenixSpec | None = None,
    validation: Any = None,
    task: str | None = None,
    classes: Sequence[Any] | None = None,
    quantiles: Sequence[float] | None = None,
    log_target: bool | None = None,
    groups: Any = None,
    time: Any = None,
    weights: Any = None,
    **options: Any,
) -> Study:
    """Searches for the best network for arrays, a DataFrame or a CSV file.

    Args:
        x: Features [rows, columns]: numbers, or a DataFrame of numbers, text, categories, dates. Or the path of a CSV
            file, which has the labels, too.
        y: Labels [rows]: classes or numbers. Or the name of the column of the DataFrame or the file that holds them.
        number_models: Models to train.
        train_steps: Training steps (batches) per model; by the size of the data where None.
        batch_size: Rows per step; where None, models choose it (100 rows where `train_steps` is given).
        root_dir: Folder of all studies.
        experiment_name: Name of the study; a new one, made from the time, where None. Naming an earlier study
            continues it.
        spec: The search specification; where None, that of the earlier study, or `constants.DEFAULT_TABULAR`.
        validation: (x, y) to validate on; of a file the path of another one, and where `y` is the name of a column, a
            DataFrame that has it. A part of the rows where None.
        task: "classification", "ordinal", "regression" or "quantile"; inferred from `y` where None.
        classes: The classes from the least to the most, for "ordinal"; numbers and ordered categoricals have an order.
        quantiles: For "quantile": rising numbers between 0 and 1; 0.1, 0.5 and 0.9 where None.
        log_target: Learn the logarithms of the labels, which are numbers above 0: for labels that span several orders
            of magnitude. Predictions and metrics (but the loss) are in the labels' units.
        groups: The group of each row, or the name of a column of `x`: rows of one group are all trained on, or all
            validated on.
        time: The time of each row, or the name of a column of `x`: the latest rows are validated on.
        weights: The weight of each row [rows], at least 0, or the name of the column that holds them, as for `y`; all
            the same where None.
        **options: Anything else `SingleTrainer.try_models` takes: seed, metric, goal, time_limit, ...

    Returns:
        The study: `leaderboard()`, `best_model()`, `predict(x)`, `export(path)`.

    Raises:
        UserError: for any invalid argument, in one sentence.
    """
    from model_search.metadata import paths
    from model_search.single_trainer import SingleTrainer
    from model_search.trainers.opening.study_setup import spec_of
    from model_search.trainers.option_fields import as_root_dir

    if y is None:
        raise UserError(_no_labels(x))
    choices = {"task": task, "classes": classes, "quantiles": quantiles, "log_target": log_target}
    choices |= {"groups": groups, "time": time}
    provider = _provider(x, y, validation, weights, choices)
    arguments: dict[str, Any] = {"eval_steps": 100, "experiment_owner": ""} | options
    root, name = as_root_dir(root_dir), experiment_name or _fresh_name()
    overwrite = bool(arguments.get("overwrite", False))
    chosen = spec_of(spec, constants.DEFAULT_TABULAR, paths.study_dir(root, name), overwrite)
    return SingleTrainer(provider, chosen).try_models(
        number_models=number_models,
        train_steps=train_steps,
        root_dir=root,
        batch_size=batch_size,
        experiment_name=name,
        **arguments,
    )


def _no_labels(x: Any) -> str:
    """What to write where the labels are not given."""
    if isinstance(x, Mapping) and "data" in x and "target" in x:
        return "y is missing; of a scikit-learn dataset give both: fit(dataset.data, dataset.target)"
    how = "expected the labels, one for each row"
    if not hasattr(x, "columns") and not isinstance(x, str | os.PathLike):
        return f"y is missing; {how}"
    return f"y is missing; {how}, or the name of the column that holds them: y='price'"


def _provider(x: Any, y: Any, validation: Any, weights: Any, choices: dict[str, Any]) -> Provider:
    from model_search.data import array_data, csv_data

    if isinstance(x, str | os.PathLike):
        if not isinstance(y, str):
            raise UserError(f"x is the path {os.fspath(x)!r} and y a {type(y).__name__}; expected the name of a column")
        return csv_data.Provider(filename=x, label=y, validation_filename=validation, weight=weights, **choices)
    if isinstance(y, str) and hasattr(x, "columns"):
        names = [y, weights] if isinstance(weights, str) else [y]
        if hasattr(validation, "columns"):
            validation = _parts(validation, names, "validation")
        x, y, *named = _parts(x, names, "x")
        weights = named[0] if named else weights
    return array_data.Provider(x, y, validation=validation, weights=weights, **choices)


def _parts(table: Any, names: Sequence[Any], what: str) -> tuple[Any, ...]:
    """A table without some of its columns, and these."""
    from model_search.data.rows import as_pandas

    frame = as_pandas(table, what)
    there = list(getattr(frame, "columns", ()))
    for name in names:
        if not isinstance(name, str) or name not in there:
            shown = ", ".join(map(str, there[:_MOST_SHOWN])) + (", ..." if len(there) > _MOST_SHOWN else "")
            raise UserError(
                f"{what} has no column {name!r:.80}; expected the name of one of its columns ({shown}), as y is a name"
            )
    return (frame.drop(columns=list(names)), *(frame[name] for name in names))


def _fresh_name() -> str:
    """A name that no other study has: two may begin in one second, and a clock may be set back."""
    return f"{clock.strftime('fit-%Y%m%d-%H%M%S')}-{secrets.token_hex(3)}"
