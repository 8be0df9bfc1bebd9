"""The output of the benchmark on tables: scores, paired differences with their lower bounds, and a plot."""

from __future__ import annotations

import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

Results = Mapping[str, Sequence[Mapping[str, Any]]]
ONE_SIDED = 1.645  # standard normal: 95 % lie below


def lower_bound(differences: np.ndarray) -> float:
    """The lower 95 % bound (one-sided) of the mean of paired differences."""
    if len(differences) < 2:
        return -math.inf
    return float(differences.mean() - ONE_SIDED * differences.std(ddof=1) / math.sqrt(len(differences)))


def _at(results: Sequence[Mapping[str, Any]], what: str, trials: int) -> np.ndarray:
    return np.array([result[what][result["trials"].index(trials)] for result in results])


def print_scores(table: str, results: Results, trials: Sequence[int], default: str) -> None:
    """Mean accuracy of the incumbent, and the default's lead over each contestant's best and recommended trial."""
    print(f"\n{table}: one run a trial; accuracy of the incumbent by the mean of three")
    head = f"{'':<18}{'trials':>7}{'best':>9}{'recommended':>13}{'s.e.':>7}"
    print(f"{head}   lead of {default}: mean, lower 95 % bound over")
    print(f"{'':<18}{'':>7}{'':>9}{'':>13}{'':>7}   {'best':>17}{'recommended':>20}{'s/study':>9}")
    for count in trials:
        own = _at(results[default], "recommended", count) if default in results else None
        for name, studies in results.items():
            best, recommended = _at(studies, "best", count), _at(studies, "recommended", count)
            error = recommended.std(ddof=1) / math.sqrt(len(studies)) if len(studies) > 1 else math.nan
            line = f"{name:<18}{count:>7}{best.mean():>9.3f}{recommended.mean():>13.3f}{error:>7.3f}   "
            if own is None or name == default:
                line += " " * 37
            else:
                for other in (best, recommended):
                    line += f"{(own - other).mean():>+8.3f} ({lower_bound(own - other):>+6.3f})  "
            print(line + f"{np.mean([study['seconds'] for study in studies]):>9.2f}")


def print_reached(table: str, results: Results, default: str, most: int) -> None:
    """Trials to within 0.1 of the best in the table."""
    print(f"\n{table}: mean of three; trials until one within 0.1 of the best is tried (at most {most})")
    print(f"{'':<18}{'median':>8}{'mean':>9}{'90 %':>8}   others minus {default}: mean, lower 95 % bound")
    own = np.array([study["trials"] for study in results[default]]) if default in results else None
    for name, studies in results.items():
        trials = np.array([study["trials"] for study in studies], float)
        line = f"{name:<18}{np.median(trials):>8.1f}{trials.mean():>9.1f}{np.quantile(trials, 0.9):>8.1f}   "
        if own is not None and name != default:
            line += f"{(trials - own).mean():>+8.1f} ({lower_bound(trials - own):>+7.1f})"
        print(line)


def print_parallel(table: str, results: Results, trials: int) -> None:
    """The share of repeated networks."""
    print(f"\n{table}: four workers, {trials} trials; equivalent networks tried twice")
    for name, studies in results.items():
        print(f"{name:<18}{np.mean([study['repeated'] for study in studies]):>8.2%}")


def save_plot(path: pathlib.Path, table: str, results: Results) -> None:
    """Accuracy of the incumbent against trials, with a band of one standard error."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4.5), layout="constrained")
    for name, studies in results.items():
        trials = studies[0]["trials"]
        scores = np.array([study["recommended" if name == "default" else "best"] for study in studies])
        mean, error = scores.mean(axis=0), scores.std(axis=0) / math.sqrt(len(studies))
        (line,) = axes.plot(trials, mean, label=name)
        axes.fill_between(trials, mean - error, mean + error, color=line.get_color(), alpha=0.2, linewidth=0)
    last = [np.mean([study["best"][-1] for study in studies]) for studies in results.values()]
    axes.set_ylim(min(last) - 0.5, max(last) + 0.1)
    axes.set(title=table, xlabel="trials", ylabel="accuracy of the incumbent (mean of three runs)", xscale="log")
    axes.legend()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
