"""Another ranking than by one metric needs no change elsewhere: Pareto fronts over several metrics, as a test."""

import dataclasses
import math

import numpy as np
import pytest
from search_factory import DENSE, completed, make_plan, make_spec, make_trial

from model_search.errors import UserError
from model_search.metadata.final_models import FinalKind, FinalMember, FinalModel
from model_search.metadata.trial import TrialState
from model_search.ranking import Objective, Ranking, tie_break
from model_search.report.leaderboard import leaderboard_frame, ranked_models
from model_search.search.history.history import History
from model_search.search.planning.planner import Planner, PlannerSettings


@dataclasses.dataclass(frozen=True)
class ParetoRanking(Ranking):
    """Non-dominated sorting; within a front, the more space around an entry, the better (NSGA-II, Deb et al. 2002)."""

    objectives: tuple[Objective, ...]

    @property
    def objective(self):
        return self.objectives[0]

    @property
    def metrics(self):
        return tuple(objective.metric for objective in self.objectives)

    def _losses(self, entry):
        return np.array([objective.loss(entry.metrics.get(objective.metric)) for objective in self.objectives])

    def better(self, one, than):
        mine, others = self._losses(one), self._losses(than)
        return bool((mine <= others).all() and (mine < others).any())

    def order(self, entries):
        left = sorted(entries, key=tie_break)
        ordered = []
        while left:
            front = [entry for entry in left if not any(self.better(other, entry) for other in left)]
            space = self._space(front)
            ordered += [front[place] for place in np.argsort(-space, kind="stable")]
            chosen = set(map(id, front))
            left = [entry for entry in left if id(entry) not in chosen]
        return ordered

    def _space(self, front):
        """Crowding distance: the extremes of every metric have all the space there is."""
        losses, space = np.array([self._losses(entry) for entry in front]), np.zeros(len(front))
        for column in losses.T:
            order = np.argsort(column, kind="stable")
            width = column[order[-1]] - column[order[0]]
            space[order[[0, -1]]] = math.inf
            if 0 < width < math.inf:
                space[order[1:-1]] += (column[order[2:]] - column[order[:-2]]) / width
        return space


PARETO = ParetoRanking((Objective("loss", "minimize"), Objective("auc", "maximize")))


def trial(number, loss, auc, plan=None, **others):
    plan = plan or make_plan(number)
    return make_trial(number, TrialState.COMPLETED, plan, loss=loss, auc=auc, **others)


def final(accepted=True, **metrics):
    members = (FinalMember(1, 1.0, None, None),)
    return FinalModel(FinalKind.ENSEMBLE, metrics, 1, 0.0, (1,), accepted, members=members)


# In the first front, 2 and 5 are the extremes, and 3 has more space around it than 4. Then come 1, and 6 behind it.
POINTS = {1: (0.5, 0.5), 2: (0.1, 0.2), 3: (0.2, 0.6), 4: (0.3, 0.7), 5: (0.45, 0.9), 6: (0.9, 0.1)}
ORDER = [2, 5, 3, 4, 1, 6]


def ids(trials):
    return [one.id for one in trials]


def made():
    history = History(PARETO)
    history.update([*(trial(number, *values) for number, values in POINTS.items()), completed(7, 0.01)])
    return history


def test_a_history_ranks_by_fronts():
    history = made()
    assert ids(history.completed) == ORDER and ids(history.best(2)) == [2, 5]
    assert (history.metric, history.goal) == ("loss", "minimize")
    assert ids(history.towers.completed) == ids(history.snapshot().completed) == ORDER
    assert ids(history.before(4).completed) == [2, 3, 1]


@pytest.mark.parametrize("seed", range(5))
def test_the_order_does_not_depend_on_who_came_first(seed):
    rng = np.random.default_rng(seed)
    trials = [trial(number, *rng.integers(0, 4, 2).tolist()) for number in range(1, 20)]
    shuffled = [trials[place] for place in rng.permutation(len(trials))]
    one, other = History(PARETO), History(PARETO)
    one.update(trials)
    other.update(shuffled)
    assert ids(one.completed) == ids(other.completed)
    for place, after in enumerate(one.completed):
        assert not any(PARETO.better(after, before) for before in one.completed[:place])


def test_the_leaderboard_ranks_final_models_among_the_trials():
    best, between = final(loss=0.05, auc=0.95), final(loss=0.5, auc=0.4)
    assert ranked_models(made(), [best])[0] is best
    refused = dataclasses.replace(best, accepted=False)
    assert [getattr(entry, "id", "final") for entry in ranked_models(made(), [refused])] == [2, "final", 5, 3, 4, 1, 6]
    frame = leaderboard_frame(made(), "loss", [between])
    assert frame["trial"].fillna(0).tolist() == [2, 5, 3, 4, 1, 0, 6]
    assert ranked_models(made(), [final(loss=0.0)])[-1].kind is FinalKind.ENSEMBLE  # it has no auc


def test_a_schedule_promotes_by_fronts():
    spec = make_spec(blocks_to_use=DENSE)
    spec.evaluation_schedule.kind = type(spec.evaluation_schedule).ASHA
    planner, history = Planner(spec, PlannerSettings(0, 900, 32), PARETO), History(PARETO)
    rng, promoted = np.random.default_rng(0), 0
    for number in range(1, 61):
        plan = planner.plan(number, history)
        if plan.is_promotion:
            promoted += 1
            source = history.get(plan.warm_start)
            rung = [one for one in history.completed if one.plan.rung == source.plan.rung]
            assert source in PARETO.order(rung)[: len(rung) // 3]
        history.update([trial(number, *rng.random(2).tolist(), plan)])
    assert promoted > 10


def test_a_planner_refuses_a_history_that_is_ranked_otherwise():
    planner = Planner(make_spec(), PlannerSettings(0, 900, 32), PARETO)
    with pytest.raises(UserError, match="make both for the same study"):
        planner.plan(1, History("loss", "minimize"))
