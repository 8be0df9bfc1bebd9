"""The tables of docs/ensembles.md are what the planner does."""

import pathlib
import re

import pytest
from search_factory import add_distillation, add_ensembles, make_planner, make_spec, run_study

from model_search.metadata.trial import TrialKind
from model_search.search.planning.ensembling import LOSSES, SEARCHES

TEXT = (pathlib.Path(__file__).parents[2] / "docs" / "ensembles.md").read_text(encoding="utf-8")
KINDS = ("nonadaptive", "adaptive", "residual", "intermixed")


def _cell(plan):
    """What a trial does, as the legend of the docs says it."""
    if plan.kind is TrialKind.ENSEMBLE:
        return f"+{len(plan.members)}" if plan.architecture else f"E{len(plan.members)}"
    if plan.kind is TrialKind.DISTILLATION:
        return f"D{len(plan.teacher)}"
    return "S"


def _column(trials, ensembles=None, distils=False, ensemble_pool=None, distillation_pool=None):
    """What the trials of a study do in which every trial is better than all before it."""
    spec = make_spec(maximum_depth=6)
    if ensembles is not None:
        add_ensembles(spec, ensembles, **({} if ensemble_pool is None else {"minimal_pool_size": ensemble_pool}))
    if distils:
        add_distillation(spec, **({} if distillation_pool is None else {"minimal_pool_size": distillation_pool}))
    history = run_study(make_planner(spec), max(trials), lambda plan: 1 / plan.trial_id)
    return [_cell(history.get(trial_id).plan) for trial_id in trials]


def _table(name):
    """The rows of a table of the docs, without its head: numbers of trials and columns of cells."""
    (text,) = re.findall(rf"<!-- {name} -->\n(.*?)\n\n", TEXT, flags=re.DOTALL)
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()[2:]]
    trials, *columns = zip(*rows, strict=True)
    return [int(number) for number in trials], [list(column) for column in columns]


def test_the_schedule_is_as_documented():
    trials, columns = _table("schedule")
    assert trials == [*range(1, 13), *range(99, 113)]
    documented = {("none", True): columns[0]}
    for kind, place in (("nonadaptive", 1), ("adaptive", 3), ("residual", 3), ("intermixed", 5)):
        documented |= {(kind, False): columns[place], (kind, True): columns[place + 1]}
    done = {(kind, distils): _column(trials, None if kind == "none" else kind, distils) for kind, distils in documented}
    assert done == documented


@pytest.mark.parametrize(("place", "pools"), [(0, (4, 8)), (2, (8, 4))])
def test_pools_that_differ_are_as_documented(place, pools):
    trials, columns = _table("pools")
    assert trials == list(range(1, 13))
    for kind, column in (("nonadaptive", 0), ("adaptive", 1), ("residual", 1)):
        assert _column(trials, kind, True, *pools) == columns[place + column]


def test_every_kind_and_loss_is_explained():
    for name in (*SEARCHES, *LOSSES):
        assert f"`{name}`" in TEXT
