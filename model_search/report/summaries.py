"""Summaries of a study's trials: time, failures, and the expected result of random search."""

from __future__ import annotations

import dataclasses
import datetime
import math
import re
from collections.abc import Sequence

from model_search.metadata.final_models import FinalModel
from model_search.metadata.trial import Trial, TrialPlan
from model_search.report.leaderboard import seconds_of
from model_search.report.numbers import figure
from model_search.search.history.history import History
from model_search.search.planning.random_baseline import Baseline, random_baseline, sampled_steps, trained_for

_PHASES = {
    "train": "training",
    "trace": "tracing (turning each model into a graph)",
    "validate": "validation",
    "build": "building models",
    "frozen": "running frozen towers again",
}
_OTHER = "planning, and reading and storing files of trials"
_MOST_NAMED = 12


@dataclasses.dataclass(frozen=True)
class Phase:
    """What the trials spent in one phase, in seconds and as a share of everything."""

    name: str
    seconds: float
    share: float


@dataclasses.dataclass(frozen=True)
class Failure:
    """Trials that failed for one reason: an example, and their numbers."""

    reason: str
    trials: tuple[int, ...]

    @property
    def named(self) -> str:
        """Their numbers, shortened."""
        rest = len(self.trials) - _MOST_NAMED
        return ", ".join(map(str, self.trials[:_MOST_NAMED])) + (f" and {rest} more" if rest > 0 else "")


def phases(history: History, final_models: Sequence[FinalModel]) -> list[Phase]:
    """Time of the completed trials and of the final stage by phase, longest first."""
    spent: dict[str, float] = {}
    for trial in history.completed:
        if trial.result is None:
            continue
        known = {name: seconds for name, seconds in trial.result.timings.items() if name in _PHASES}
        for name, seconds in known.items():
            spent[_PHASES[name]] = spent.get(_PHASES[name], 0.0) + seconds
        rest = seconds_of(trial.result) - sum(known.values())
        if rest > 0:
            spent[_OTHER] = spent.get(_OTHER, 0.0) + rest
    for model in final_models:
        spent[f"final {model.kind}"] = model.seconds
    total = sum(spent.values())
    ordered = sorted(spent.items(), key=lambda item: -item[1])
    return [Phase(name, seconds, seconds / total) for name, seconds in ordered if seconds > 0]


def elapsed(trials: Sequence[Trial]) -> float:
    """Seconds from the first trial's beginning to the last one's end; NaN where nothing has ended."""
    began = [moment for trial in trials if (moment := _moment(trial.created_at)) is not None]
    ended = [moment for trial in trials if (moment := _moment(trial.finished_at)) is not None]
    return max(0.0, max(ended) - min(began)) if began and ended else math.nan


def failures(history: History) -> list[Failure]:
    """Failed trials by reason, the most frequent first; reasons that differ by numbers alone are one."""
    groups: dict[str, list[Trial]] = {}
    for trial in history.failed:
        reason = trial.reason or f"{trial.state}, without a reason"
        groups.setdefault(re.sub(r"\d+(\.\d+)?", "#", reason), []).append(trial)
    found = [Failure(group[0].reason or key, tuple(trial.id for trial in group)) for key, group in groups.items()]
    return sorted(found, key=lambda failure: (-len(failure.trials), failure.trials))


def budget(history: History, steps: int | None = None) -> int:
    """The completed trials as a number of trainings for so many steps, in full where None; others count accordingly."""
    plans = [trial.plan for trial in history.completed if trial.plan is not None]
    share = max(
        (steps / _in_full(plan) for plan in plans if steps is not None and trained_for(plan, steps)), default=1.0
    )
    return max(1, round(sum(map(_share_of_training, plans)) / share))


def baseline(history: History) -> Baseline | None:
    """The expected result of random search with this study's budget; None where that is unknown.

    Where random trials were trained for less than all steps, the budget is all that the study has trained, spent on
    trainings of that length: more towers than the search has tried, since it trained some of its own further.
    """
    if not history.completed:
        return None
    steps = sampled_steps(history)
    return random_baseline(history, budget(history, steps), steps)


def baseline_in_words(history: History, found: Baseline | None) -> list[str]:
    """The same in sentences."""
    metric = history.metric
    if not history.completed:
        return []
    if found is None:
        count = sum(1 for trial in history.completed if trial.plan is not None and trial.plan.random)
        number = "no random trials" if count == 0 else "one random trial only"
        return [
            f"This study has {number}, and so it cannot say what random search would have reached. With "
            "random_baseline_share: 0.05 in the specification, one trial in twenty is drawn at random from then on. At "
            "least two are needed, and more are better."
        ]
    of_what = f"{found.budget} trial{'s' if found.budget > 1 else ''}"
    objective = history.ranking.objective
    if found.steps is not None:
        of_what += f" of {found.steps} steps each (as much as the {history.completed_count} trials here took)"
    elif found.budget < history.completed_count:
        of_what += f" trained in full (as much as the {history.completed_count} trials here took)"
    compared = [
        trial
        for trial in history.completed
        if found.steps is None or (trial.plan is not None and trained_for(trial.plan, found.steps))
    ]
    best = min((trial.objective(metric) for trial in compared), key=objective.loss)
    if found.is_certain:
        sentences = [
            f"With a budget of {of_what}, random search would have been expected to reach a {metric} of "
            f"{figure(found.expected)}. This is estimated from the {found.trials} random trials of this study, "
            "without extrapolation."
        ]
    else:
        sentences = [
            f"From the {found.trials} random trials of this study: with a budget of {of_what}, random search would "
            f"have been expected to reach a {metric} of {figure(found.expected)} or better, but hardly better than "
            f"{figure(found.at_most)}.",
            f"This is extrapolated from {found.trials} trials to {found.budget}. The first figure draws from these "
            "trials alone and says too little; the second one takes their results for normally distributed, and "
            "mostly says too much. The fewer random trials there are, the rougher are both.",
        ]
    at_most = found.expected if found.is_certain else found.at_most
    after = "" if found.steps is None else f" after {found.steps} steps"
    if found.trials == history.completed_count:
        sentences.append("All trials of this study are random ones: it is a random search itself.")
    elif objective.better(best, at_most):
        sentences.append(f"The best trial of this study has {figure(best)}{after}, which is better than that.")
    elif objective.better(best, found.expected):
        sentences.append(
            f"The best trial of this study has {figure(best)}{after}, which lies in between: random search may have "
            "done as well."
        )
    else:
        sentences.append(f"The best trial of this study has {figure(best)}{after}, which is no better than that.")
    if found.steps is not None:
        sentences.append("What random towers would have reached in full trainings is not known from this study.")
    return sentences


def classic_in_words(history: History) -> str:
    """What models that are no networks reach, and the best of the others, in a sentence; empty where there are none."""
    classic = [trial for trial in history.completed if trial.plan is not None and trial.plan.classic is not None]
    others = (trial for trial in history.completed if trial.plan is not None and trial.plan.classic is None)
    if not classic:
        return ""
    found = ", ".join(
        f"{trial.plan.described if trial.plan else ''} {figure(trial.objective(history.metric))} (trial {trial.id})"
        for trial in classic
    )
    best = next(others, None)
    beside = "" if best is None else f"; the best network {figure(best.objective(history.metric))} (trial {best.id})"
    return f"Models that are no networks, as a baseline: {found}{beside}."


def _share_of_training(plan: TrialPlan) -> float:
    if not plan.steps:
        return 1.0  # nothing was trained, but it counts as a trial
    return (plan.steps - plan.first_step) / _in_full(plan)


def _in_full(plan: TrialPlan) -> int:
    return plan.steps if plan.total_steps is None else plan.total_steps


def _moment(text: str | None) -> float | None:
    try:
        return None if not text else datetime.datetime.fromisoformat(text).timestamp()
    except ValueError:
        return None
