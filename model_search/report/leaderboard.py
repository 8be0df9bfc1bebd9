"""The leaderboard: completed trials and final models, best first. Needs pandas, not TensorFlow."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from model_search.errors import UserError
from model_search.metadata.final_models import FinalKind, FinalModel
from model_search.metadata.trial import BLOCK_ARROW, Trial, TrialResult
from model_search.printable import printable, printable_line
from model_search.search.history.history import History

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table

PLAIN_WIDTH = 130  # columns of a leaderboard that is written to a file or a pipe


def leaderboard_frame(history: History, metric: str, final_models: Sequence[FinalModel] = ()) -> pd.DataFrame:
    """One row per completed trial and final model, best first.

    Columns: rank, trial (missing for final models), kind, the metric's name, blocks, parameters, seconds, parent
    (missing where there is none). A final model that may not be the best one is ranked after the best trial, as noted
    in its kind; one whose metric is unknown comes last.
    """
    import pandas as pd

    columns = ["rank", "trial", "kind", metric, "blocks", "parameters", "seconds", "parent"]
    rows = [
        _final_row(rank, entry, metric) if isinstance(entry, FinalModel) else _row(rank, entry, metric)
        for rank, entry in enumerate(ranked_models(history, final_models), 1)
    ]
    return pd.DataFrame(rows, columns=columns).astype({"trial": "Int64", "parent": "Int64"})


def ranked_models(history: History, final_models: Sequence[FinalModel] = ()) -> list[Trial | FinalModel]:
    """Every completed trial and final model, best first, in the order of the leaderboard.

    A final model that is no better than a trial is ranked after it; one that may not be the best is after the best
    trial; one whose metric is unknown comes last. Where there are trials, the first entry is the study's best model.
    Where finalists were trained in folds, or an ensemble leads, final models that may be the best come first, and the
    best bag: figures of trials that were chosen by them among many are no match. That of a model which was made before
    the best trial, and is worse, is.
    """
    entries: list[Trial | FinalModel] = [*history.completed, *final_models]
    ranking = history.ranking
    unknown = [entry for entry in entries if not ranking.can_rank(entry)]
    ranked = [*ranking.order(filter(ranking.can_rank, entries)), *unknown]
    leader = history.leader
    is_bag = leader is not None and leader.plan is not None and leader.plan.folds > 0
    models = [entry for entry in ranked if isinstance(entry, FinalModel) and ranking.can_rank(entry)]
    # A trial that is newer than a final model, and better, overtakes it.
    current = [
        model for model in models if leader is None or leader.id in model.trials or not ranking.better(leader, model)
    ]
    if is_bag or any(model.leads for model in current):
        best = [model for model in current if model.accepted]
        ahead: list[Trial | FinalModel] = [*best, *([leader] if is_bag and leader is not None else [])]
        return [*ahead, *(entry for entry in ranked if entry not in ahead)]
    first = next((place for place, entry in enumerate(ranked) if isinstance(entry, Trial)), 0)
    ahead = ranked[:first]
    refused = [model for model in ahead if isinstance(model, FinalModel) and not model.accepted]
    accepted = [model for model in ahead if model not in refused]
    return [*accepted, *ranked[first : first + 1], *refused, *ranked[first + 1 :]]


def members_frame(ensemble: FinalModel, history: History, metric: str) -> pd.DataFrame:
    """One row per member: trial, blocks, weight, its own metric, the ensemble's metric without it, parameters."""
    import pandas as pd

    rows = []
    for member in ensemble.members:
        trial = history.get(member.trial)
        result = None if trial is None else trial.result
        parameters = None if result is None else result.parameters
        blocks = "" if trial is None or trial.plan is None else trial.plan.described
        rows.append([member.trial, blocks, member.weight, member.metric, member.without, parameters])
    frame = pd.DataFrame(rows, columns=["trial", "blocks", "weight", metric, "without", "parameters"])
    return frame.astype({metric: "float64", "without": "float64", "parameters": "Int64"})


def _final_row(rank: int, model: FinalModel, metric: str) -> list[object]:
    import pandas as pd

    kind, blocks = final_in_words(model)
    return [rank, pd.NA, kind, model.metrics.get(metric, math.nan), blocks, model.parameters, model.seconds, pd.NA]


def final_in_words(model: FinalModel) -> tuple[str, str]:
    """The kind of a final model ("final ensemble (no gain)") and what it consists of, for people."""
    kind = f"final {model.kind}" if model.accepted else f"final {model.kind} (no gain)"
    members = ", ".join(str(member.trial) for member in model.members)
    whole = "trials" if model.kind is FinalKind.ENSEMBLE else "a part of trials"
    return kind, model.plan.described if model.plan is not None else f"{whole} {members}"


def _row(rank: int, trial: Trial, metric: str) -> list[object]:
    if trial.plan is None or trial.result is None:
        raise ValueError(f"trial {trial.id} is {trial.state}; only completed trials have a rank")
    return [
        rank,
        trial.id,
        trial.plan.kind.value,
        trial.objective(metric),
        trial.plan.described,
        trial.result.parameters,
        seconds_of(trial.result),
        trial.plan.parent,
    ]


def seconds_of(result: TrialResult) -> float:
    """Seconds of a trial, from its plan to its end; NaN where that is unknown."""
    return result.timings.get("trial", result.timings.get("total", math.nan))


def leaderboard_table(frame: pd.DataFrame, title: str, top: int) -> Table:
    """The first `top` rows of a leaderboard as a table for a terminal; a tower takes a line per block."""
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(printable_line(title), style="table.title"), title_justify="left", caption_justify="left")
    for name in frame.columns:
        table.add_column(
            Text(printable_line(name)),
            justify="left" if name in ("kind", "blocks") else "right",
            no_wrap=name != "blocks",
        )
    for values in frame.head(top).itertuples(index=False):
        table.add_row(*(Text(printable(_text(name, value))) for name, value in zip(frame.columns, values, strict=True)))
    if len(frame) > top:
        table.caption = f"{len(frame) - top} more"
    return table


def print_table(frame: pd.DataFrame, title: str, top: int) -> None:
    """Prints the first `top` rows of a leaderboard.

    Raises:
        UserError: if `top` is no whole number of at least 1.
    """
    if not isinstance(top, int) or isinstance(top, bool) or top < 1:
        raise UserError(f"top is {top!r}; expected a whole number of at least 1")
    from rich.console import Console

    console = Console()
    if not console.is_terminal:
        console = Console(width=max(console.width, PLAIN_WIDTH))
    console.print(leaderboard_table(frame, title, top))


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
