"""What failed trials have in common, and how the search keeps away from it."""

import hypothesis
import pytest
from hypothesis import strategies as st
from search_factory import completed, failed, make_plan, make_planner, make_spec, make_trial, run_study

from model_search.errors import SpaceExhaustedError
from model_search.metadata.trial import DistillationPlan, EnsemblePlan, TrialState
from model_search.search.history.failures import Failures
from model_search.search.history.history import History
from model_search.search.predictor.predictor import Predictor
from model_search.search.samplers.bayesian_sampler import _failed
from model_search.search.space.grammar import Grammar
from model_search.search.space.hyperparameter_space import Space

A, B, C, D = "FULLY_CONNECTED", "LOWRANK_1", "IDENTITY", "BOTTLENECK_32"


def history_of(*trials):
    """Trials as (architecture, loss), None for one that fails."""
    history = History("loss", "minimize")
    for number, (architecture, loss) in enumerate(trials, start=1):
        plan = make_plan(number, architecture)
        history.update([failed(number, plan) if loss is None else completed(number, loss, plan)])
    return history


def test_where_nothing_fails_nothing_is_avoided():
    failures = history_of(((A,), 1.0), ((A, B), 2.0)).failures
    assert not failures.blocks and not failures.architectures and not failures.avoids((C,))


def test_an_architecture_that_failed_is_avoided_until_a_trial_of_it_is_completed():
    history = history_of(((A,), 1.0), ((B,), 1.0), ((A, B), None))
    assert history.failures.avoids((A, B)) and not history.failures.avoids((B, A))
    history.update([completed(4, 1.0, make_plan(4, (A, B)))])
    assert not history.failures.avoids((A, B)) and not history.failures.architectures


def test_one_failure_is_no_proof_against_a_block_and_two_are():
    history = history_of(((A,), 1.0), ((A, B), None))
    assert not history.failures.avoids((B,))
    history.update([failed(3, make_plan(3, (B, A)))])
    assert history.failures.blocks == {B} and history.failures.avoids((A, A, B))


def test_a_block_that_could_be_built_once_is_never_to_blame():
    history = history_of(((A, B), 1.0), ((A, B, B), None), ((B, A), None), ((B,), None))
    assert not history.failures.blocks
    assert not history.failures.avoids((B, B))


def test_of_the_suspects_the_one_that_all_failures_share_is_to_blame():
    failures = history_of(((A, B), None), ((C, B), None), ((D, B), None)).failures
    assert failures.blocks == {B}
    assert not failures.avoids((A, C)) and not failures.avoids((D,))


def test_suspects_that_cannot_be_told_apart_are_avoided_together_only():
    failures = history_of(((A, B), None), ((B, A), None)).failures
    assert not failures.blocks
    assert failures.avoids((A, C, B)) and not failures.avoids((A, C)) and not failures.avoids((B,))


def test_two_bad_blocks_are_both_found():
    failures = history_of(((A,), 1.0), ((A, B), None), ((B, A), None), ((A, C), None), ((C, A), None)).failures
    assert failures.blocks == {B, C}


def test_a_block_gets_another_chance_after_many_completed_trials():
    history = history_of(((A,), 1.0), ((A, B), None), ((B, A), None))
    history.update(completed(number, 1.0, make_plan(number, (A, C))) for number in range(4, 43))
    assert history.failures.avoids((B, B))
    history.update([completed(43, 1.0, make_plan(43, (A, C)))])
    assert not history.failures.avoids((B, B)) and history.failures.avoids((A, B))
    history.update([failed(44, make_plan(44, (B, B)))])
    assert history.failures.avoids((B,))


def test_lost_trials_ensembles_and_students_prove_nothing():
    history = history_of(((A,), 1.0))
    ensemble, distillation = EnsemblePlan("average"), DistillationPlan("cross_entropy")
    history.update(make_trial(n, TrialState.LOST, make_plan(n, (A, B))) for n in (2, 3, 4))
    history.update(failed(n, make_plan(n, (A, B), members=(1,), ensemble=ensemble)) for n in (5, 6))
    history.update(failed(n, make_plan(n, (A, B), teacher=(1,), distillation=distillation)) for n in (7, 8))
    history.update([make_trial(9, TrialState.FAILED)])
    assert not history.failures.architectures


def test_a_snapshot_and_the_history_of_towers_keep_their_own():
    history = history_of(((A,), 1.0), ((A, B), None))
    taken = history.snapshot()
    history.update([failed(3, make_plan(3, (B, A)))])
    assert history.failures.blocks == history.towers.failures.blocks == {B}
    assert not taken.failures.blocks and not taken.towers.failures.blocks


def only(*blocks, **fields):
    return make_spec(blocks_to_use=blocks, minimum_depth=1, maximum_depth=2, **fields)


def test_what_the_user_suggests_is_tried_whatever_has_failed():
    suggestions = [{"architecture": [B]}, {"architecture": [B, B]}, {"architecture": [B]}, {"architecture": [B]}]
    spec = only(A, B, user_suggestions=suggestions)
    history = run_study(make_planner(spec), 12, lambda plan: None if B in plan.architecture else 1.0)
    assert [trial.id for trial in history.failed][:4] == [1, 2, 3, 4]
    assert len(history.failed) == 4


def test_samples_of_random_search_are_drawn_from_the_whole_space():
    planner = make_planner(only(A, B, C, random_baseline_share=0.5))
    history = run_study(planner, 60, lambda plan: None if B in plan.architecture else 1.0)
    late = [trial for trial in history.failed if trial.id > 20]
    assert late and all(trial.plan.random for trial in late)
    assert sum(not trial.plan.random for trial in history.failed) <= 4


def test_a_space_in_which_everything_fails_goes_on_until_the_worker_stops():
    history = run_study(make_planner(only(A, B)), 15, lambda plan: None)
    assert len(history.failed) == 15


ONE_BIN = {"optimizers": ["adam"], "learning_rate_range": [{"minimum": 0.1, "maximum": 0.1}]}


def run_to_the_end(spec, loss, seed=0):
    """Plans until nothing is left; the history, and what the planner says."""
    history = History("loss", "minimize")
    with pytest.raises(SpaceExhaustedError) as error:
        run_study(make_planner(spec, seed), 1000, loss, history)
    return history, str(error.value)


def test_what_is_expected_to_fail_is_tried_before_the_space_is_called_exhausted():
    history, message = run_to_the_end(
        only(A, B, learning=ONE_BIN), lambda plan: None if B in plan.architecture else 1.0
    )
    assert (len(history.completed), len(history.failed)) == (2, 4)
    assert "every architecture and hyperparameter bin of the search space has been tried (6 trials)" in message
    assert message.endswith("(architectures that have failed are not tried again)")


@pytest.mark.parametrize("search", ["PREDICTOR_GUIDED_BEAM", "NONADAPTIVE_RANDOM_SEARCH", "GRID_SEARCH"])
def test_two_failures_do_not_end_a_study_of_a_block_that_mostly_works(search):
    """Only the networks that begin with C and do not end with A fail, so that others with C are left."""
    spec = make_spec(search, blocks_to_use=(A, B, C), minimum_depth=3, maximum_depth=3, learning=ONE_BIN)

    def loss(plan):
        first, _, last = plan.architecture
        return None if first == C and last != A else 1.0

    # The first two trials fail, and all others with C have to be taken for failures until only they are left.
    history = history_of(((C, A, B), None), ((C, B, B), None), ((A, A, A), 1.0), ((B, B, B), 1.0))
    assert history.failures.blocks == {C}
    with pytest.raises(SpaceExhaustedError, match="has been tried"):
        run_study(make_planner(spec), 1000, loss, history)
    tried = {trial.plan.architecture for trial in history.trials}
    assert len(tried) == 27
    assert len(history.failed) == 6


def test_a_study_of_which_only_what_fails_is_left_ends_before_its_workers_give_up():
    spec = make_spec(blocks_to_use=(A, B, D), minimum_depth=3, maximum_depth=3, learning=ONE_BIN)
    history, message = run_to_the_end(spec, lambda plan: None if B in plan.architecture else 1.0)
    assert len(history.completed) == 8
    assert history.failures.in_a_row == 8
    assert (
        f"is expected to fail, as the last 8 towers have ({len(history)} trials; all towers with these have" in message
    )
    assert f"failed: {B}); add blocks" in message


@pytest.mark.parametrize("search", ["PREDICTOR_GUIDED_BEAM", "NONADAPTIVE_RANDOM_SEARCH", "GRID_SEARCH"])
def test_no_walk_goes_through_a_large_space_of_suspect_towers(search, monkeypatch):
    walked, enumerate_all = [], Grammar.enumerate

    def enumerate_some(*given):
        for architecture in enumerate_all(*given):
            walked.append(architecture)
            assert len(walked) < 100_000, "of 2**30"
            yield architecture

    monkeypatch.setattr(Grammar, "enumerate", enumerate_some)
    spec = make_spec(search, blocks_to_use=(A, B), minimum_depth=30, maximum_depth=30, learning=ONE_BIN)
    # Whatever has both blocks is suspect, and the two towers that have one have failed, too.
    history = history_of((15 * (A, B), None), (30 * (A,), None), (30 * (B,), None))
    run_study(make_planner(spec), 3, lambda plan: None, history)
    run_study(make_planner(spec), 3, lambda plan: 1.0, history)
    assert len({trial.plan.architecture for trial in history.trials}) == 9


def test_an_architecture_that_failed_is_no_risk_worth_taking():
    spec = only(A, B, learning={"optimizers": ["adam"]})  # ten bins of the learning rate for each tower
    history, _ = run_to_the_end(spec, lambda plan: None if B in plan.architecture else 1.0)
    failed_ones = [trial.plan.architecture for trial in history.failed]
    assert len(history.completed) == 20
    assert sorted(failed_ones) == sorted({(B,), (A, B), (B, A), (B, B)})


@pytest.mark.parametrize("search", ["LINEAR_MODEL", "HARMONICA_SEARCH", "GAUSSIAN_PROCESS", "REINFORCE"])
def test_those_that_learn_see_failed_trials_as_bad_as_the_worst(search):
    from model_search.search.algorithms.registry import make_algorithm

    algorithm = make_algorithm(make_spec(search))
    history = history_of(((A,), 1.0), ((B,), 5.0), ((C,), None), ((A, C), None))
    towers = algorithm.towers_with_failed(history)
    assert [(tower.trial.id, tower.loss) for tower in towers] == [(1, 1.0), (2, 5.0), (3, 5.0), (4, 5.0)]
    assert [tower.trial.id for tower in algorithm.towers(history)] == [1, 2]


def test_the_predictor_expects_little_of_what_is_like_failed_trials():
    trials = [((A, name), 1.0 + place / 10) for place, name in enumerate((A, B, D) * 4)]
    without, having = history_of(*trials), history_of(*trials, *[((A, C), None), ((C, A), None), ((C, C), None)])
    grammar = Grammar.of(make_spec())
    expected = [Predictor(history, grammar).predict([(C, B), (A, A)]).mean for history in (without, having)]
    assert expected[1][0] - expected[1][1] < expected[0][0] - expected[0][1]
    predictor = Predictor(having, grammar)
    assert len(predictor.tried) == len(predictor.targets) == len(predictor.expected) == 12


def test_hyperparameters_are_blamed_where_no_block_is():
    history = history_of(((A,), 1.0), ((B,), 3.0), ((A, B), None), ((A, C), None), ((C, A), None))
    assert [(trial.id, value) for trial, value in _failed(history)] == [(3, 3.0)]


def test_what_failed_is_indexed_once_until_another_trial_ends(monkeypatch):
    """In a space with many names for a tower, each proposal is compared with all that failed."""
    spec = make_spec(
        "NONADAPTIVE_RANDOM_SEARCH",
        blocks_to_use=(B, C, D),
        minimum_depth=5,
        maximum_depth=5,
        stages=[{"first": 0, "last": 4}],
        identity_blocks=[C],
        learning=ONE_BIN,
    )
    grammar, history = Grammar.of(spec), history_of((5 * (B,), 1.0), (5 * (C,), 1.0), (5 * (D,), 1.0))
    shallow = [name for name in grammar.enumerate(5) if C in name and name != 5 * (C,)][:50]
    history.update(failed(4 + place, make_plan(4 + place, name)) for place, name in enumerate(shallow))
    asked, canonical = [], Space.canonical
    monkeypatch.setattr(Space, "canonical", lambda *given: asked.append(given) or canonical(*given))
    planner = make_planner(spec)
    for attempt in range(3):
        proposed = grammar.canonical(planner.plan(54, history, attempt).architecture)
        assert proposed not in {grammar.canonical(name) for name in shallow}
    assert len(shallow) == 50
    assert len(asked) < 2 * len(shallow)


@hypothesis.given(
    st.lists(st.tuples(st.lists(st.sampled_from("ABCD"), min_size=1, max_size=3), st.booleans()), max_size=12)
)
@hypothesis.settings(max_examples=60)
def test_an_architecture_is_avoided_exactly_where_it_failed_or_its_blocks_are_suspect(trials):
    failures = Failures()
    for number, (architecture, fails) in enumerate(trials, start=1):
        plan = make_plan(number, architecture)
        failures.add(failed(number, plan) if fails else completed(number, 1.0, plan))
        built = {tuple(known) for known, failing in trials[:number] if not failing}
        unbuilt = {tuple(known) for known, failing in trials[:number] if failing} - built
        assert failures.architectures == failures.copy().architectures == unbuilt
        assert failures.architectures is failures.architectures
        for known, _ in trials:
            suspect = any(block in failures.blocks for block in known)
            suspect = suspect or any(together <= set(known) for together in failures.verdict.together)
            assert failures.avoids(known) == (tuple(known) not in built and (suspect or tuple(known) in unbuilt))
            assert failures.taking_risks().avoids(known) == (tuple(known) in unbuilt)
