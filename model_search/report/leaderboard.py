"""The leaderboard: completed trials, best first. Needs pandas, not TensorFlow."""

from __future__ import annotations

from typing import TYPE_CHECKING

from model_search.metadata.trial import Trial
from model_search.search.history import History

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table

BLOCK_ARROW = " > "


def leaderboard_frame(history: History, metric: str) -> pd.DataFrame:
    """One row per completed trial, best first.

    Columns: rank, trial, kind, the metric's name, blocks, parameters, seconds, parent (missing where there is none).
    """
    import pandas as pd

    ranked = history.best(len(history.completed)) if history.completed else []
    columns = ["rank", "trial", "kind", metric, "blocks", "parameters", "seconds", "parent"]
    frame = pd.DataFrame([_row(rank, trial, metric) for rank, trial in enumerate(ranked, 1)], columns=columns)
    return frame.astype({"parent": "Int64"})


def _row(rank: int, trial: Trial, metric: str) -> list[object]:
    if trial.plan is None or trial.result is None:
        raise ValueError(f"trial {trial.id} is {trial.state}; only completed trials have a rank")
    return [
        rank,
        trial.id,
        trial.plan.kind.value,
        trial.objective(metric),
        BLOCK_ARROW.join(trial.plan.architecture),
        trial.result.parameters,
        trial.result.timings.get("trial", trial.result.timings.get("total", float("nan"))),
        trial.plan.parent,
    ]


def leaderboard_table(frame: pd.DataFrame, title: str, top: int) -> Table:
    """The first `top` rows of a leaderboard as a table for a terminal; a tower takes a line per block."""
    from rich.table import Table

    table = Table(title=title, title_justify="left", caption_justify="left")
    for name in frame.columns:
        table.add_column(name, justify="left" if name in ("kind", "blocks") else "right", no_wrap=name != "blocks")
    for values in frame.head(top).itertuples(index=False):
        table.add_row(*(_text(name, value) for name, value in zip(frame.columns, values, strict=True)))
    if len(frame) > top:
        table.caption = f"{len(frame) - top} more"
    return table


def _text(name: str, value: object) -> str:
    import pandas as pd

    if value is pd.NA:
        return ""
    if name == "blocks":
        return str(value).replace(BLOCK_ARROW, "\n")
    if name == "seconds":
        return f"{value:.1f}"
    if name == "parameters":
        return f"{value:,}"
    return f"{value:.5g}" if isinstance(value, float) else str(value)
