import logging

import numpy as np
import optuna
import pytest
from search_factory import completed, make_plan, make_planner, make_spec, make_trial, run_study, running

from model_search.errors import UserError
from model_search.metadata.trial import TrialState
from model_search.search.history.history import History
from model_search.search.samplers.bayesian_sampler import BayesianSampler, _distribution
from model_search.search.samplers.random_sampler import RandomSampler
from model_search.search.samplers.sampler import SAMPLERS, make_sampler
from model_search.search.space.grammar import Grammar
from model_search.search.space.hyperparameter_space import Space, build_space
from model_search.search.space.hyperparameters import Whole

GRAMMAR = Grammar.of(make_spec())


def _space():
    learning = {
        "apply_exponential_decay": True,
        "apply_gradient_clipping": True,
        "apply_momentum": True,
        "no_dropout_share": 0.0,
    }
    return build_space(make_spec(learning=learning, apply_dropouts_between_blocks=True), 1000)


def _history(space, count, goal="minimize", objective=lambda values: abs(values["exponential_decay_rate"] - 0.8)):
    history = History("loss", goal)
    rng = np.random.default_rng(7)
    for trial_id in range(1, count + 1):
        values = space.draw(rng)
        history.update([completed(trial_id, objective(values), make_plan(trial_id, hyperparameters=values))])
    return history


@pytest.mark.parametrize("name", SAMPLERS.builtin)
@pytest.mark.parametrize("count", [0, 9, 10, 150])
def test_every_sampler_gives_what_is_in_effect(name, count):
    space = _space()
    history = _history(space, count)
    for seed in range(3):
        values = make_sampler(name, GRAMMAR).sample(
            space, history, np.random.default_rng(seed), {"optimizer": "momentum"}
        )
        assert values["optimizer"] == "momentum"
        assert set(values) == {
            "optimizer",
            "learning_rate",
            "momentum",
            "exponential_decay_rate",
            "exponential_decay_steps",
            "gradient_max_norm",
            "dropout_rate",
        }
        assert not [bin_ for bin_ in space.bins(values).values() if str(bin_).startswith("=")]


@pytest.mark.parametrize("name", SAMPLERS.builtin)
def test_every_sampler_is_a_function_of_history_and_generator(name):
    space = _space()
    history = _history(space, 30)
    used = make_sampler(name, GRAMMAR)
    for seed in range(5):
        values = used.sample(space, history, np.random.default_rng(seed), {})
        assert values == make_sampler(name, GRAMMAR).sample(space, history, np.random.default_rng(seed), {})


def test_an_unknown_sampler_is_refused():
    with pytest.raises(UserError, match="There is no sampler 'grid'; expected one of bayesian, predictor, random"):
        make_sampler("grid", GRAMMAR)


@pytest.mark.parametrize(("goal", "sign"), [("minimize", 1), ("maximize", -1)])
def test_the_bayesian_sampler_goes_where_the_study_s_metric_is_best(goal, sign):
    space = _space()
    history = _history(space, 100, goal, lambda values: sign * abs(values["exponential_decay_rate"] - 0.8))

    def distances(sampler):
        drawn = [sampler.sample(space, history, np.random.default_rng(seed), {}) for seed in range(15)]
        return np.mean([abs(values["exponential_decay_rate"] - 0.8) for values in drawn])

    assert distances(BayesianSampler()) < 0.5 * distances(RandomSampler())


def test_the_bayesian_sampler_keeps_away_from_what_is_running():
    space = _space()
    history = _history(space, 40)
    before = [BayesianSampler().sample(space, history, np.random.default_rng(seed), {}) for seed in range(10)]
    history.update(running(100 + i, make_plan(100 + i, hyperparameters=values)) for i, values in enumerate(before))
    after = [BayesianSampler().sample(space, history, np.random.default_rng(seed), {}) for seed in range(10)]
    assert before != after


def test_the_bayesian_sampler_bears_values_from_outside_of_the_space():
    space = _space()
    history = _history(space, 12)
    odd = {"optimizer": "lion", "learning_rate": 7.0, "exponential_decay_rate": "fast", "gradient_max_norm": 1000}
    history.update([completed(50, 0.0, make_plan(50, hyperparameters=odd)), completed(51, 0.0, make_plan(51))])
    history.update([make_trial(52, TrialState.FAILED)])
    values = BayesianSampler().sample(space, history, np.random.default_rng(0), {})
    assert values["optimizer"] in ("adam", "rmsprop", "momentum")


def test_the_bayesian_sampler_sees_a_bounded_part_of_the_history(monkeypatch):
    seen = []
    add_trials = optuna.study.Study.add_trials
    monkeypatch.setattr(
        optuna.study.Study, "add_trials", lambda self, trials: (seen.append(len(trials)), add_trials(self, trials))
    )
    space = _space()
    history = _history(space, 1000)
    history.update(running(2000 + i) for i in range(200))
    BayesianSampler().sample(space, history, np.random.default_rng(0), {})
    most = BayesianSampler.BEST + BayesianSampler.LATEST + BayesianSampler.RUNNING
    assert len(seen) == 1 and most - BayesianSampler.BEST <= seen[0] <= most


def test_the_bayesian_sampler_says_nothing_and_leaves_the_verbosity_alone(caplog, capsys):
    optuna.logging.set_verbosity(optuna.logging.INFO)
    space = _space()
    with caplog.at_level(logging.INFO):
        BayesianSampler().sample(space, _history(space, 20), np.random.default_rng(0), {})
    assert not caplog.records and capsys.readouterr() == ("", "")
    assert optuna.logging.get_verbosity() == optuna.logging.INFO


def test_the_predictor_samples_for_the_architecture():
    """A world in which the best learning rate is low for one block and high for the other."""
    space, blocks = _space(), ("LOWRANK_1", "FULLY_CONNECTED")
    history, rng = History("loss", "minimize"), np.random.default_rng(7)
    for trial_id in range(1, 81):
        values, block = space.draw(rng, {"optimizer": "adam"}), blocks[trial_id % 2]
        share = np.log(values["learning_rate"] / 3e-4) / np.log(0.01 / 3e-4)
        loss = share if block == "LOWRANK_1" else 1 - share
        history.update([completed(trial_id, float(loss), make_plan(trial_id, [block], hyperparameters=values))])
    means = []
    for block in blocks:
        drawn = [
            make_sampler("predictor", GRAMMAR).sample(
                space, history, np.random.default_rng(s), {"optimizer": "adam"}, (block,)
            )
            for s in range(6)
        ]
        means.append(np.mean([np.log10(values["learning_rate"]) for values in drawn]))
    assert means[0] < -3.0
    assert means[1] > -2.5


def _late_learning_rates(search_type):
    """The learning rates of the last trials where 0.0004 is best."""
    spec = make_spec(search_type, learning={"optimizers": ["adam"]})

    def loss(plan):
        return abs(np.log(plan.hyperparameters["learning_rate"] / 4e-4))

    history = run_study(make_planner(spec, sampler="auto"), 40, loss)
    return [trial.plan.hyperparameters["learning_rate"] for trial in history.completed if trial.id > 30]


def test_auto_is_the_sampler_that_goes_with_the_search():
    assert np.median(_late_learning_rates("PREDICTOR_GUIDED_BEAM")) < 6e-4
    assert np.median(_late_learning_rates("ADAPTIVE_COORDINATE_DESCENT")) > 6e-4


def test_whole_numbers_on_a_logarithmic_scale_are_suggested_on_it():
    units = Whole(name="units", minimum=1, maximum=1024, log=True)
    space = Space((units,), GRAMMAR.problem_type)
    history = _history(space, 40, objective=lambda values: abs(np.log(values["units"] / 8)))
    sampler = make_sampler("bayesian", GRAMMAR)
    found = [sampler.sample(space, history, np.random.default_rng(seed), {})["units"] for seed in range(20)]
    assert all(type(value) is int and 1 <= value <= 1024 for value in found)
    assert 2 <= np.median(found) <= 32
    # A sampler that has learnt on another scale than it suggests on is refused by Optuna.
    assert _distribution(units) == optuna.distributions.IntDistribution(1, 1024, log=True)
