"""Which trial ensembles, distils or is replayed, and with whom."""

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from search_factory import (
    add_distillation,
    add_ensembles,
    completed,
    make_plan,
    make_planner,
    make_spec,
    make_trial,
    run_study,
    running,
)

from model_search.errors import SpaceExhaustedError, SpecError
from model_search.metadata.trial import DistillationPlan, EnsemblePlan, TrialKind, TrialPlan, TrialState
from model_search.search.history.history import History
from model_search.search.planning.ensembling import Distilling, Ensembling, keeps_train_logits

KINDS = ("nonadaptive", "adaptive", "residual", "intermixed")


def _history(*trials):
    history = History("loss", "minimize")
    history.update(trials)
    return history


def _spec(search=None, distils=None, *, ensemble=None, distillation=None, **fields):
    spec = make_spec(**fields)
    if search is not None:
        add_ensembles(spec, search, **(ensemble or {}))
    if distils is not None:
        add_distillation(spec, distils, **(distillation or {}))
    return spec


def _pool(*losses, first=1):
    """Completed single towers with these losses."""
    return [completed(number, loss) for number, loss in enumerate(losses, first)]


def _plans(history):
    return {trial.id: trial.plan for trial in history.completed}


# Drawn ensembles


def test_members_are_drawn_from_the_best_of_the_pool():
    spec = _spec("nonadaptive", ensemble={"width": 2, "num_trials_to_consider": 3, "minimal_pool_size": 6})
    history = _history(*_pool(6.0, 1.0, 5.0, 2.0, 3.0, 4.0))
    plans = [make_planner(spec, seed).plan(7, history) for seed in range(30)]
    assert {plan.members for plan in plans} == {(2, 4), (2, 5), (4, 5)}
    plan = plans[0]
    assert (plan.kind, plan.architecture, plan.steps) == (TrialKind.ENSEMBLE, (), 0)
    assert plan.hyperparameters == {} and plan.batch_size == 32 and plan.parent is None
    assert plan.ensemble == EnsemblePlan("average") and plan.towers == plan.members


@pytest.mark.parametrize(("combining", "freeze"), [("weighted", True), ("weighted", False), ("average", False)])
def test_what_has_something_to_train_has_hyperparameters_but_those_of_blocks(combining, freeze):
    spec = _spec(
        "nonadaptive",
        ensemble={"minimal_pool_size": 3, "combining": combining, "freeze": freeze},
        blocks_to_use=["TUNABLE_SVDF", "IDENTITY"],
        apply_dropouts_between_blocks=True,
        learning={"batch_sizes": [8], "apply_weight_decay": True},
    )
    plan = make_planner(spec).plan(4, _history(*_pool(1.0, 2.0, 3.0)))
    assert set(plan.hyperparameters) == {"optimizer", "learning_rate", "weight_decay", "batch_size"}
    assert (plan.steps, plan.batch_size, plan.architecture) == (1000, 8, ())
    assert plan.ensemble == EnsemblePlan(combining, freeze=freeze)
    assert plan.towers == (plan.members if freeze else (4,))


def test_fewer_trials_than_the_width_are_all_taken_but_one_is_no_ensemble():
    spec = _spec("nonadaptive", ensemble={"minimal_pool_size": 1, "width": 5})
    planner = make_planner(spec)
    assert planner.plan(2, _history(completed(1, 1.0))).kind is TrialKind.SEARCH
    assert planner.plan(2, _history(make_trial(1, TrialState.FAILED, make_plan(1)))).kind is TrialKind.SEARCH
    assert planner.plan(5, _history(*_pool(3.0, 1.0), running(3))).members == (1, 2)


def test_the_first_ensemble_of_a_study_without_completed_trials_searches():
    spec = _spec("intermixed", "CROSS_ENTROPY", ensemble={"try_ensembling_every": 5})
    for trial_id in (1, 5, 6, 10):
        plan = make_planner(spec).plan(trial_id, _history(running(trial_id + 1)))
        assert plan.kind is TrialKind.SEARCH and plan.architecture and not plan.towers[:-1]


@pytest.mark.parametrize("state", [TrialState.COMPLETED, TrialState.FAILED, TrialState.RUNNING])
def test_the_same_members_are_not_combined_twice_whatever_became_of_them(state):
    spec = _spec("nonadaptive", ensemble={"minimal_pool_size": 4, "width": 2, "num_trials_to_consider": 4})
    planner, history = make_planner(spec), _history(*_pool(4.0, 3.0, 2.0, 1.0))
    combined = []
    for trial_id in range(5, 11):
        plan = planner.plan(trial_id, history)
        combined.append(plan.members)
        history.update([make_trial(trial_id, state, plan, loss=9.0)])
    assert sorted(combined) == [(1, 2), (1, 3), (1, 4), (2, 3), (2, 4), (3, 4)]


def test_when_all_combinations_were_tried_the_search_goes_on():
    spec = _spec("nonadaptive", ensemble={"minimal_pool_size": 4, "width": 2, "num_trials_to_consider": 3})
    history = run_study(make_planner(spec), 12, lambda plan: 9.0 - plan.trial_id if plan.trial_id < 5 else 9.0)
    plans = _plans(history)
    assert {plans[number].members for number in (5, 6, 7)} == {(2, 3), (2, 4), (3, 4)}
    assert {plans[number].kind for number in range(8, 13)} == {TrialKind.SEARCH}


def test_a_refused_combination_leads_to_another_draw():
    spec = _spec("nonadaptive", ensemble={"minimal_pool_size": 10, "width": 3})
    planner, history = make_planner(spec), _history(*_pool(*range(10)))
    assert len({planner.plan(11, history, attempt).members for attempt in range(10)}) > 5


def test_ensembles_are_never_members_and_students_are():
    ensemble = make_plan(3, (), members=(1, 2), ensemble=EnsemblePlan("average"))
    grown = make_plan(4, ["IDENTITY"], members=(1,), ensemble=EnsemblePlan("average"))
    student = make_plan(5, ["IDENTITY"], teacher=(1,), distillation=DistillationPlan("mse_logits"))
    history = _history(
        *_pool(8.0, 9.0), completed(3, 1.0, ensemble), completed(4, 1.0, grown), completed(5, 2.0, student)
    )
    spec = _spec("nonadaptive", ensemble={"minimal_pool_size": 5})
    assert make_planner(spec).plan(6, history).members == (1, 2, 5)


def test_the_search_between_ensembles_learns_nothing_from_them():
    spec = _spec("intermixed", ensemble={"try_ensembling_every": 4})
    ensemble = make_plan(4, (), members=(1, 2), ensemble=EnsemblePlan("average"))
    history = _history(*_pool(3.0, 2.0, 1.0), completed(4, 0.0, ensemble))
    assert {make_planner(spec, seed).plan(5, history).parent for seed in range(10)} == {3}


# Grown ensembles


@pytest.mark.parametrize("search", ["adaptive", "residual"])
def test_a_new_tower_is_added_to_those_of_the_best_trial_of_the_windows_before(search):
    spec = _spec(search, ensemble={"minimal_pool_size": 5, "increase_width_every": 5})
    losses = {2: 1.0, 7: 0.5, 9: 0.9, 10: 0.7, 12: 0.6}
    history = run_study(make_planner(spec), 17, lambda plan: losses.get(plan.trial_id, 5.0))
    plans = _plans(history)
    assert [plans[number].members for number in range(1, 6)] == [()] * 5
    assert [plans[number].members for number in range(6, 10)] == [(2,)] * 4
    assert [plans[number].members for number in range(10, 18)] == [(2, 7)] * 8
    for plan in (plans[7], plans[11]):
        assert plan.kind is TrialKind.ENSEMBLE and plan.architecture and plan.steps == 1000
        assert plan.ensemble == EnsemblePlan("average", residual=search == "residual")
        assert {"optimizer", "learning_rate"} <= set(plan.hyperparameters)
        assert plan.towers == (*plan.members, plan.trial_id)


def test_a_new_tower_is_searched_among_those_of_its_window():
    spec = _spec("adaptive", ensemble={"minimal_pool_size": 5, "increase_width_every": 5}, beam_size=1)
    history = run_study(make_planner(spec), 25, lambda plan: 1 / plan.trial_id)
    plans = _plans(history)
    for number in range(6, 26):
        in_window = range(number // 5 * 5 + 1, number)
        assert plans[number].parent == (max(in_window) if in_window else None)


def test_the_towers_of_a_window_look_as_if_trained_alone():
    grown = make_plan(11, ["IDENTITY"], members=(1, 2), ensemble=EnsemblePlan("average"), parent=1)
    grown = dataclasses.replace(grown, kind=TrialKind.ENSEMBLE)
    student = make_plan(12, ["LOWRANK_1"], teacher=(1,), distillation=DistillationPlan("mse_logits"))
    history = _history(*_pool(1.0, 2.0), completed(11, 0.5, grown), completed(12, 0.6, student), running(14, grown))
    composition, window = Ensembling("adaptive", "average", True, every=10).grow(15, history)
    assert composition.members == (1,)
    assert [trial.id for trial in window.completed] == [11, 12] and [trial.id for trial in window.unfinished] == [14]
    seen = window.get(11)
    assert (seen.plan.kind, seen.plan.architecture, seen.plan.towers) == (TrialKind.SEARCH, ("IDENTITY",), (11,))
    assert seen.plan.parent == 1 and seen.result == history.get(11).result
    assert window.get(12) == history.get(12)


def test_up_to_the_pool_size_and_without_a_completed_trial_nothing_is_grown():
    spec = _spec("adaptive", ensemble={"minimal_pool_size": 3, "increase_width_every": 5})
    planner = make_planner(spec)
    assert planner.plan(3, _history(*_pool(1.0, 2.0))).members == ()
    assert planner.plan(4, _history(*_pool(1.0, 2.0, 3.0))).members == ()  # the first window is not over
    assert planner.plan(7, _history(completed(6, 1.0))).members == ()
    assert planner.plan(7, _history(completed(5, 2.0), completed(6, 1.0))).members == (5,)


def test_the_same_tower_beside_other_members_is_not_a_repetition():
    learning = {"optimizers": ["adam"], "learning_rate_range": [{"minimum": 0.1, "maximum": 0.1}]}
    spec = _spec(
        "adaptive",
        ensemble={"minimal_pool_size": 1, "increase_width_every": 1},
        blocks_to_use=["IDENTITY"],
        maximum_depth=1,
        learning=learning,
    )
    history = run_study(make_planner(spec), 4, lambda plan: 1 / plan.trial_id)
    assert [history.get(number).plan.members for number in range(1, 5)] == [(), (1,), (1, 2), (1, 2, 3)]
    assert len({plan.key for plan in _plans(history).values()}) == 4


def test_tuned_ensembles_grow_from_one_tower_that_holds_all():
    spec = _spec("adaptive", ensemble={"minimal_pool_size": 1, "increase_width_every": 1, "freeze": False})
    history = run_study(make_planner(spec), 4, lambda plan: 1 / plan.trial_id)
    assert [history.get(number).plan.members for number in range(2, 5)] == [(1,), (2,), (3,)]


# Distillation


def test_alone_odd_trials_past_the_pool_are_students_of_another_architecture():
    spec = _spec(distils="MSE_SOFTMAX", distillation={"minimal_pool_size": 4, "temperature": 2.5})
    history = run_study(make_planner(spec), 20, lambda plan: 1 / plan.trial_id)
    plans = _plans(history)
    assert [number for number, plan in plans.items() if plan.teacher] == [19, 17, 15, 13, 11, 9, 7, 5]
    for number in range(5, 20, 2):
        plan = plans[number]
        assert plan.kind is TrialKind.DISTILLATION and plan.teacher == (number - 1,) and plan.warm_start is None
        assert plan.architecture != plans[number - 1].architecture
        assert plan.distillation == DistillationPlan("mse_softmax", 2.5)
        assert plan.towers == (number,)


def test_where_there_is_no_other_architecture_the_student_searches():
    spec = _spec(
        distils="MSE_LOGITS", distillation={"minimal_pool_size": 1}, blocks_to_use=["IDENTITY"], maximum_depth=1
    )
    history = run_study(make_planner(spec), 5, lambda plan: 1 / plan.trial_id)
    assert {plan.kind for plan in _plans(history).values()} == {TrialKind.SEARCH}


def test_between_ensembles_the_student_goes_on_from_the_best_tower():
    spec = _spec(
        "intermixed",
        "CROSS_ENTROPY",
        blocks_to_use=["TUNABLE_SVDF", "IDENTITY"],
        ensemble={"try_ensembling_every": 4, "width": 3},
    )
    own = {"TUNABLE_SVDF_rank": 2, "TUNABLE_SVDF_output_size": 60, "learning_rate": 1.5e-3, "optimizer": "adam"}
    history = _history(
        *_pool(3.0, 2.0),
        completed(3, 1.0, make_plan(3, ["TUNABLE_SVDF", "IDENTITY"], hyperparameters=own)),
        completed(4, 0.5, make_plan(4, (), members=(1, 2, 3), ensemble=EnsemblePlan("average"))),
    )
    plans = [make_planner(spec, seed).plan(5, history) for seed in range(8)]
    for plan in plans:
        assert (plan.teacher, plan.warm_start, plan.parent) == ((1, 2, 3), 3, None)
        assert plan.architecture == ("TUNABLE_SVDF", "IDENTITY")
        assert {name: plan.hyperparameters[name] for name in list(own)[:2]} == dict(list(own.items())[:2])
    assert len({plan.hyperparameters["learning_rate"] for plan in plans}) == 8


def test_the_same_student_of_the_same_teacher_is_not_tried_twice():
    learning = {"optimizers": ["adam"]}
    spec = _spec("intermixed", "MSE_LOGITS", ensemble={"try_ensembling_every": 2}, learning=learning)
    planner, history = make_planner(spec), _history(*_pool(1.0, 2.0))
    for trial_id in range(3, 41, 2):
        plan = planner.plan(trial_id, history)
        history.update([completed(trial_id, 9.0, plan)])
    students = [plan for plan in _plans(history).values() if plan.teacher]
    assert len(students) == len({plan.key for plan in students}) == 10  # the bins of the learning rate


@pytest.mark.parametrize(
    ("trial_id", "balance"), [(1, 0.5), (10, 0.5), (11, 0.6), (15, 1.0), (20, 1.5), (21, 1.5), (1000, 1.5)]
)
def test_lambda_goes_up_a_ramp_and_stays_there(trial_id, balance):
    ramp = {"minimal_pool_size": 10, "num_ramp_trials": 10, "minimum_lambda": 0.5, "maximum_lambda": 1.5}
    distilling = Distilling.of(_spec(distils="ADAPTIVELY_BALANCE_LOSSES", distillation=ramp))
    assert distilling.balance(trial_id) == pytest.approx(balance)
    plan = distilling.composition(trial_id, _history(completed(1, 1.0)), warm=False).distillation
    assert plan == DistillationPlan("balanced", 1.0, distilling.balance(trial_id))


def test_lambda_without_a_ramp_is_the_least_one_and_of_other_losses_1():
    none = {"minimum_lambda": 0.3, "maximum_lambda": 2.0}
    assert Distilling.of(_spec(distils="ADAPTIVELY_BALANCE_LOSSES", distillation=none)).balance(500) == 0.3
    assert Distilling.of(_spec(distils="MSE_LOGITS", distillation=none)).balance(500) == 1.0


# Suggestions and replay


def test_suggestions_neither_ensemble_nor_distil():
    spec = _spec("intermixed", "MSE_LOGITS", ensemble={"try_ensembling_every": 3})
    for _ in range(6):
        suggestion = spec.user_suggestions.add(architecture=["IDENTITY"])
        suggestion.hparams.hparam["learning_rate"].float_value = 0.01
        suggestion.hparams.hparam["optimizer"].bytes_value = b"adam"
    history = run_study(make_planner(spec), 9, lambda plan: 1 / plan.trial_id)
    kinds = [history.get(number).plan.kind.value for number in range(1, 10)]
    assert kinds == ["suggestion", *["search"] * 5, "distillation", "search", "ensemble"]


def _replay(*architectures, search=None, **ensemble):
    spec = _spec(search, ensemble=ensemble)
    for number, architecture in enumerate(architectures):
        tower = spec.replay.towers.add(architecture=architecture)
        tower.hparams.hparam["learning_rate"].float_value = 0.25 + number
        tower.hparams.hparam["optimizer"].bytes_value = b"sgd"
    spec.user_suggestions.add(architecture=["LOWRANK_1"])
    return spec


TOWERS = (["IDENTITY"], ["FULLY_CONNECTED", "IDENTITY"])


def test_a_replay_trains_its_towers_with_their_hyperparameters_and_ends():
    planner = make_planner(_replay(*TOWERS, TOWERS[0]))
    history = run_study(planner, 3, lambda plan: 1.0)
    plans = [history.get(number).plan for number in (1, 2, 3)]
    assert [plan.architecture for plan in plans] == [tuple(tower) for tower in (*TOWERS, TOWERS[0])]
    assert [plan.hyperparameters["learning_rate"] for plan in plans] == [0.25, 1.25, 2.25]
    assert {plan.kind for plan in plans} == {TrialKind.REPLAY} and not any(plan.members for plan in plans)
    with pytest.raises(SpaceExhaustedError, match="all 3 towers of the replay"):
        planner.plan(4, history)


@pytest.mark.parametrize("search", KINDS)
def test_one_tower_is_replayed_by_itself(search):
    plan = make_planner(_replay(TOWERS[1], search=search)).plan(1, _history())
    assert (plan.kind, plan.architecture, plan.members) == (TrialKind.REPLAY, tuple(TOWERS[1]), ())


@pytest.mark.parametrize("search", ["nonadaptive", "intermixed"])
@pytest.mark.parametrize(("combining", "learns"), [("average", set()), ("weighted", {"optimizer", "learning_rate"})])
def test_the_last_tower_of_a_drawn_replay_is_the_ensemble_of_the_others(search, combining, learns):
    planner = make_planner(_replay(*TOWERS, ["no_search"], search=search, combining=combining))
    history = run_study(planner, 2, lambda plan: 1.0)
    plan = planner.plan(3, history)
    assert (plan.kind, plan.architecture, plan.members) == (TrialKind.REPLAY, (), (1, 2))
    assert plan.ensemble == EnsemblePlan(combining) and set(plan.hyperparameters) == learns
    assert plan.steps == (1000 if learns else 0)


@pytest.mark.parametrize("search", ["adaptive", "residual"])
def test_a_grown_replay_adds_every_tower_to_those_before(search):
    planner = make_planner(_replay(*TOWERS, TOWERS[0], search=search))
    history = run_study(planner, 3, lambda plan: 1.0)
    assert [history.get(number).plan.members for number in (1, 2, 3)] == [(), (1,), (1, 2)]
    assert history.get(3).plan.ensemble.residual == (search == "residual")


def test_a_tower_that_failed_is_left_out_of_what_follows():
    planner = make_planner(_replay(*TOWERS, TOWERS[0], ["no_search"], search="nonadaptive"))
    failed = make_trial(2, TrialState.FAILED, make_plan(2))
    assert planner.plan(4, _history(completed(1, 1.0), failed, completed(3, 1.0))).members == (1, 3)
    with pytest.raises(SpaceExhaustedError, match="no tower of the replay is completed"):
        planner.plan(4, _history(failed))
    grown = make_planner(_replay(*TOWERS, TOWERS[0], search="adaptive"))
    assert grown.plan(3, _history(completed(1, 1.0), failed)).members == (1,)
    assert grown.plan(3, _history(failed)).members == ()


def test_a_replayed_tower_without_blocks_is_refused():
    with pytest.raises(SpecError, match="replayed tower 2 has no architecture"):
        make_planner(_replay(TOWERS[0], []))


# What the engine keeps


@pytest.mark.parametrize(
    ("search", "combining", "distils", "keeps"),
    [
        (None, "average", None, False), ("nonadaptive", "average", None, False), ("adaptive", "average", None, False),
        ("residual", "average", None, True), ("intermixed", "weighted", None, True),
        (None, "average", "MSE_LOGITS", True), ("adaptive", "average", "CROSS_ENTROPY", True),
    ],
)  # fmt: skip
def test_logits_on_training_rows_are_kept_where_something_learns_from_them(search, combining, distils, keeps):
    assert keeps_train_logits(_spec(search, distils, ensemble={"combining": combining})) is keeps


# Whatever happens

SEARCHES_TRIED = ("ADAPTIVE_COORDINATE_DESCENT", "REGULARIZED_EVOLUTION", "GRID_SEARCH", "PREDICTOR_GUIDED_BEAM")


@st.composite
def _specs(draw):
    search = draw(st.sampled_from([None, *KINDS]))
    distils = draw(st.sampled_from([None, "MSE_LOGITS", "ADAPTIVELY_BALANCE_LOSSES"]))
    ensemble = {"combining": draw(st.sampled_from(["average", "weighted"])), "freeze": draw(st.booleans())}
    small = st.integers(0, 6)
    if search in ("nonadaptive", "intermixed"):
        ensemble |= {"width": draw(st.integers(1, 4)), "num_trials_to_consider": draw(st.integers(1, 5))}
    if search == "intermixed":
        ensemble["try_ensembling_every"] = draw(st.integers(1, 5))
    elif search is not None:
        ensemble["minimal_pool_size"] = draw(small)
    if search in ("adaptive", "residual"):
        ensemble["increase_width_every"] = draw(st.integers(1, 6))
    distillation = {"minimal_pool_size": draw(small), "num_ramp_trials": draw(small)}
    fields = {
        "search_type": draw(st.sampled_from(SEARCHES_TRIED)),
        "beam_size": draw(st.integers(1, 3)),
        "apply_dropouts_between_blocks": draw(st.booleans()),
    }
    spec = _spec(search, distils, ensemble=ensemble, distillation=distillation, **fields)
    for _ in range(draw(st.integers(0, 2))):
        spec.user_suggestions.add(architecture=["IDENTITY"])
    return spec


_ENDS = ("completed", "completed", "completed", "unranked", "failed", "running", "claimed", "lost", "gap")


def _ended(trial_id, how, loss, plan):
    if how == "completed":
        return completed(trial_id, float(loss), plan)
    if how == "unranked":
        return make_trial(trial_id, TrialState.COMPLETED, plan, accuracy=1.0)
    return make_trial(trial_id, TrialState(how), None if how == "claimed" else plan)


@settings(max_examples=120, deadline=None)
@given(
    _specs(),
    st.lists(st.tuples(st.sampled_from(_ENDS), st.integers(0, 4)), max_size=24),
    st.integers(0, 3),
    st.sampled_from(["random", "bayesian"]),
)
def test_every_trial_gets_a_plan_of_completed_towers_that_was_not_tried(spec, ends, seed, sampler):
    planner, history = make_planner(spec, seed, sampler if len(ends) < 12 else "random"), _history()
    for trial_id, (how, loss) in enumerate([*ends, ("completed", 0)], start=1):
        plan = planner.plan(trial_id, history)
        assert make_planner(spec, seed, sampler if len(ends) < 12 else "random").plan(trial_id, history) == plan
        assert not history.contains_key(plan.key)
        assert TrialPlan.from_json(plan.to_json()) == plan
        _check(plan, history)
        if how != "gap":
            history.update([_ended(trial_id, how, loss, plan)])


def _check(plan, history):
    finished = {trial.id: trial.plan for trial in history.completed}
    owners = {number for number, earlier in finished.items() if number in earlier.towers}
    assert set(plan.members) | set(plan.teacher) <= owners
    assert plan.parent is None or plan.parent in finished
    if plan.members and not plan.architecture:
        assert len(plan.members) >= 2
        assert all(finished[number].architecture and not finished[number].members for number in plan.members)
    if plan.warm_start is not None:
        assert finished[plan.warm_start].architecture == plan.architecture
        assert not finished[plan.warm_start].members
    trained = plan.architecture or not plan.ensemble.freeze or plan.ensemble.combining == "weighted"
    assert bool(plan.steps) == bool(trained) == bool(plan.hyperparameters)
