import pytest
from search_factory import completed, make_plan, make_planner, make_spec, make_trial, run_study, running

from model_search.errors import SpaceExhaustedError, SpecError, UserError
from model_search.metadata.trial import TrialKind, TrialPlan, TrialState
from model_search.search.history.history import History
from model_search.search.planning.planner import Planner, PlannerSettings


def _history(*trials):
    history = History("loss", "minimize")
    history.update(trials)
    return history


def _suggesting(*architectures, **hparams):
    """Each architecture suggested with the same hyperparameters."""
    spec = make_spec(learning={"optimizers": ["adam"]})
    for architecture in architectures:
        suggestion = spec.user_suggestions.add(architecture=architecture)
        for name, value in hparams.items():
            field = {str: "bytes_value", float: "float_value", int: "int64_value", bool: "bool_value"}[type(value)]
            given = value.encode() if isinstance(value, str) else value
            setattr(suggestion.hparams.hparam[name], field, given)
    return spec


def test_a_plan_says_what_to_do():
    plan = make_planner(make_spec(), train_steps=77).plan(1, _history())
    assert plan.kind == TrialKind.SEARCH and plan.steps == 77 and plan.batch_size == 32
    assert set(plan.hyperparameters) == {"optimizer", "learning_rate"}
    assert TrialPlan.from_json(plan.to_json()) == plan


def test_the_same_trial_is_planned_alike_by_every_planner():
    history = run_study(make_planner(make_spec(beam_size=3)), 12, lambda plan: len(plan.key) % 7)
    plans = [make_planner(make_spec(beam_size=3)).plan(13, history) for _ in range(2)]
    assert plans[0] == plans[1]


def test_trials_seeds_and_attempts_draw_differently():
    planner = make_planner(make_spec())
    keys = {planner.plan(trial_id, _history()).key for trial_id in range(1, 11)}
    assert len(keys) > 7
    assert len({planner.plan(1, _history(), attempt).key for attempt in range(10)}) > 7
    assert make_planner(make_spec(), seed=0).plan(1, _history()) != make_planner(make_spec(), seed=1).plan(
        1, _history()
    )


def test_the_seed_of_a_trial_belongs_to_the_study_and_the_trial():
    planner = make_planner(make_spec())
    seeds = [planner.plan(trial_id, _history()).seed for trial_id in range(1, 50)]
    assert len(set(seeds)) == 49 and all(0 <= seed < 2**31 for seed in seeds)
    assert planner.plan(1, _history(), attempt=3).seed == seeds[0]
    assert make_planner(make_spec(), seed=1).plan(1, _history()).seed != seeds[0]


def test_a_searched_batch_size_is_that_of_the_plan():
    planner = make_planner(make_spec(learning={"batch_sizes": [8]}))
    plan = planner.plan(1, _history())
    assert plan.batch_size == plan.hyperparameters["batch_size"] == 8


def test_suggestions_come_first_in_their_order():
    spec = _suggesting(["IDENTITY", "LOWRANK_1"], ["LOWRANK_1"], dropout_rate=0.3, optimizer="sgd", warm=True)
    planner = make_planner(spec)
    plans = [planner.plan(trial_id, _history()) for trial_id in (1, 2, 3)]
    assert [plan.kind for plan in plans] == [TrialKind.SUGGESTION, TrialKind.SUGGESTION, TrialKind.SEARCH]
    assert [plan.architecture for plan in plans[:2]] == [("IDENTITY", "LOWRANK_1"), ("LOWRANK_1",)]
    for plan in plans[:2]:
        assert (plan.hyperparameters["dropout_rate"], plan.hyperparameters["optimizer"]) == (0.3, "sgd")
        assert plan.hyperparameters["warm"] is True
        assert 1e-2 <= plan.hyperparameters["learning_rate"] <= 0.5
        assert plan.parent is None


def test_a_suggestion_of_a_cnn_gets_its_flatten_block():
    spec = make_spec(problem_type="CNN")
    spec.user_suggestions.add(architecture=["FIXED_CHANNEL_CONVOLUTION_96"] * 2)
    plan = make_planner(spec).plan(1, _history())
    assert plan.architecture == (*["FIXED_CHANNEL_CONVOLUTION_96"] * 2, "PLATE_REDUCTION_FLATTEN")


def test_a_repeated_suggestion_leaves_its_trial_to_the_search():
    spec = _suggesting(["IDENTITY"], ["IDENTITY"], optimizer="adam", learning_rate=0.001)
    planner = make_planner(spec)
    first = planner.plan(1, _history())
    assert first.hyperparameters == {"optimizer": "adam", "learning_rate": 0.001}
    second = planner.plan(2, _history(running(1, first)))
    assert second.kind == TrialKind.SEARCH and second.key != first.key


def test_a_suggestion_with_free_hyperparameters_is_tried_as_often_as_it_is_suggested():
    planner = make_planner(_suggesting(*[["IDENTITY"]] * 5))
    history = run_study(planner, 5, lambda plan: 1.0)
    assert {trial.plan.kind for trial in history.completed} == {TrialKind.SUGGESTION}
    assert len({trial.plan.key for trial in history.completed}) == 5


def test_archived_suggestions_may_carry_architectures_among_their_hyperparameters():
    spec = _suggesting(["IDENTITY"], new_block_type="LOWRANK_1", initial_architecture_0="IDENTITY")
    spec.user_suggestions[0].hparams.hparam["initial_architecture"].bytes_list.value.append(b"IDENTITY")
    assert set(make_planner(spec).plan(1, _history()).hyperparameters) == {"optimizer", "learning_rate"}


def test_suggestions_that_cannot_be_are_refused():
    with pytest.raises(SpecError, match="user suggestion 2 has no architecture"):
        make_planner(_suggesting(["IDENTITY"], []))
    spec = _suggesting(["IDENTITY"])
    spec.user_suggestions[0].hparams.hparam["momentum"].float_list.value.append(0.5)
    with pytest.raises(SpecError, match="'momentum' of a suggestion is a list"):
        make_planner(spec)


def test_a_repetition_by_another_worker_leads_to_another_draw():
    planner = make_planner(make_spec())
    first = planner.plan(2, _history())
    again = planner.plan(2, _history(running(1, make_plan(1, key=first.key))), attempt=1)
    assert again.key != first.key


def test_failed_trials_are_not_repeated():
    spec = make_spec(blocks_to_use=["IDENTITY"], maximum_depth=1, learning={"optimizers": ["adam"]})
    planner = make_planner(spec)
    history = _history()
    for trial_id in range(1, 11):
        history.update([make_trial(trial_id, TrialState.FAILED, planner.plan(trial_id, history))])
    assert len({trial.plan.key for trial in history.failed}) == 10
    with pytest.raises(SpaceExhaustedError, match=r"10 trials\); add blocks to blocks_to_use"):
        planner.plan(11, history)


@pytest.mark.parametrize("search", ["NONADAPTIVE_RANDOM_SEARCH", "HARMONICA_SEARCH"])
def test_searches_of_one_depth_say_what_makes_towers_deeper(search):
    spec = make_spec(search=search, blocks_to_use=["IDENTITY"], maximum_depth=9, learning={"optimizers": ["adam"]})
    planner, history = make_planner(spec), _history()
    with pytest.raises(
        SpaceExhaustedError, match=r"raise minimum_depth \(it is 1; this search draws no deeper towers\)"
    ):
        for trial_id in range(1, 12):
            history.update([completed(trial_id, 0.5, planner.plan(trial_id, history))])


def test_deeper_towers_are_tried_before_the_space_is_called_exhausted():
    spec = make_spec(
        blocks_to_use=["IDENTITY"],
        maximum_depth=3,
        increase_complexity_minimum_trials=[100],
        learning={"optimizers": ["adam"]},
    )
    history = run_study(make_planner(spec), 30, lambda plan: 1.0)
    depths = [len(trial.plan.architecture) for trial in history.latest(30)]
    assert depths == [1] * 10 + [2] * 10 + [3] * 10


@pytest.mark.parametrize("sampler", ["random", "bayesian"])
def test_every_sampler_exhausts_a_small_space(sampler):
    spec = make_spec(blocks_to_use=["IDENTITY"], maximum_depth=1, learning={"optimizers": ["adam", "momentum"]})
    planner = make_planner(spec, sampler=sampler)
    history = run_study(planner, 20, lambda plan: plan.hyperparameters["learning_rate"])
    with pytest.raises(SpaceExhaustedError):
        planner.plan(21, history)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"seed": -1}, "seed is -1"),
        ({"train_steps": 0}, "train_steps is 0"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"sampler": "grid"}, "no sampler 'grid'"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, words):
    with pytest.raises(UserError, match=words):
        Planner(
            make_spec(),
            PlannerSettings(**({"seed": 0, "train_steps": 10, "batch_size": 8} | settings)),
            "loss",
            "minimize",
        )


def test_a_history_of_another_metric_is_refused():
    with pytest.raises(UserError, match="maximize auc, the planner minimize loss"):
        make_planner(make_spec()).plan(1, History("auc", "maximize"))


def test_a_beam_finds_its_parents_in_the_history():
    history = _history(*[completed(i, 10.0 - i, make_plan(i, ["IDENTITY"])) for i in range(1, 7)])
    plan = make_planner(make_spec()).plan(7, history)
    assert plan.parent == 6 and len(plan.architecture) == 2


def test_a_trial_planned_late_descends_from_earlier_ones_only():
    known = [completed(i, 10.0 - i, make_plan(i, ["IDENTITY"])) for i in range(1, 7)]
    later = completed(9, 0.0, make_plan(9, ["FULLY_CONNECTED"]))
    planner = make_planner(make_spec())
    assert planner.plan(10, _history(*known, later)).parent == 9
    assert planner.plan(7, _history(*known, later)) == planner.plan(7, _history(*known))
