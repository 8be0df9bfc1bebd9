"""What every search algorithm keeps to, built-in or not: subclass `AlgorithmContract` and name the algorithm.

from model_search.testing.algorithm_contract import AlgorithmContract

class TestMySearch(AlgorithmContract):
search_type = "MY_SEARCH"
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import pytest

from model_search.errors import SpaceExhaustedError, SpecError
from model_search.metadata.trial import DistillationPlan, EnsemblePlan, TrialPlan, TrialState
from model_search.proto.phoenix_spec_pb2 import PhoenixSpec
from model_search.search.algorithms.algorithm import SearchAlgorithm
from model_search.search.algorithms.registry import make_algorithm
from model_search.search.history.history import History
from model_search.search.planning.planner import Planner, PlannerSettings
from model_search.search.space.architecture import DEFAULT_FLATTEN, fix_order
from model_search.search.space.grammar import Grammar
from model_search.testing.pretended_studies import (
    DENSE,
    MIXED,
    completed,
    make_plan,
    make_planner,
    make_spec,
    make_trial,
    run_study,
    running,
)

ARCHITECTURES = {
    "DNN": [("FULLY_CONNECTED",), ("LOWRANK_1", "IDENTITY"), ("IDENTITY", "LOWRANK_1", "BOTTLENECK_32")],
    "CNN": [
        ("CONVOLUTION_3X3", "PLATE_REDUCTION_FLATTEN"),
        ("FLATTEN", "FULLY_CONNECTED"),
        ("RESNET_3X3", "CONVOLUTION_3X3", "PLATE_REDUCTION_FLATTEN", "FULLY_CONNECTED"),
    ],
}
# Of the seven towers of the second space, identity blocks at other places of the stage make nine architectures.
FIXED: dict[str, dict[str, Any]] = {
    "choices": {
        "minimum_depth": 3,
        "maximum_depth": 3,
        "position_choices": [{"blocks": ["LOWRANK_1"]}, {"blocks": ["IDENTITY", "BOTTLENECK_32"]}, {}],
    },
    "stages": {
        "minimum_depth": 3,
        "maximum_depth": 3,
        "blocks_to_use": ["IDENTITY", "LOWRANK_1", "LOWRANK_2"],
        "position_choices": [{"blocks": ["LOWRANK_1"]}, {}, {}],
        "stages": [{"first": 0, "last": 2}],
        "identity_blocks": ["IDENTITY"],
    },
}
ONE_BIN = {"optimizers": ["adam"], "learning_rate_range": [{"minimum": 0.1, "maximum": 0.1}]}
RECURRENT = ("LSTM_128", "RNN_CELL_64")
PROBLEMS = ("DNN", "CNN", "RNN_LAST_ACTIVATIONS")


def _loss(plan: TrialPlan) -> float:
    return sum(len(block) for block in plan.architecture) / 10


def _turned(sign: int) -> Callable[[TrialPlan], float]:
    return lambda plan: sign * _loss(plan)


def _plans(history: History) -> list[TrialPlan]:
    """Of the completed trials, best first."""
    return [trial.plan for trial in history.completed if trial.plan is not None]


def _histories(problem_type: str) -> list[History]:
    """None yet, some completed, and so many that the greatest depth is allowed."""
    histories = []
    for count in (0, 3, 60):
        history = History("loss", "minimize")
        known = ARCHITECTURES.get(problem_type, [("LSTM_128",), ("RNN_CELL_64", "LSTM_128")])
        history.update(completed(i, i % 7, make_plan(i, known[i % len(known)])) for i in range(1, count + 1))
        histories.append(history)
    return histories


class AlgorithmContract:
    """The contract.

    Attributes:
        search_type: Name of the algorithm in a specification.
        reachable: Architectures it can reach with two blocks at `minimum_depth` 1 and `maximum_depth` 2; as many as
            there are in its `everything` where None.
        draws_at_random: Whether its proposals depend on the generator.
        knows_positions: Whether it goes with rules of position; else it must refuse them.
    """

    search_type: ClassVar[str]
    reachable: ClassVar[int | None] = None
    draws_at_random: ClassVar[bool] = True
    knows_positions: ClassVar[bool] = True

    def _algorithm(self, problem_type: str) -> SearchAlgorithm:
        blocks = {"RNN": RECURRENT, "CNN": MIXED}.get(problem_type[:3], DENSE)
        return make_algorithm(make_spec(self.search_type, problem_type, beam_size=3, blocks_to_use=blocks))

    def _tiny_spec(self, **fields: Any) -> PhoenixSpec:
        """Two blocks, one optimizer: the reachable architectures times the ten bins of the learning rate."""
        fields = dict[str, Any](blocks_to_use=("IDENTITY", "LOWRANK_1"), maximum_depth=2) | fields
        return make_spec(self.search_type, learning={"optimizers": ["adam"]}, **fields)

    @pytest.mark.parametrize("problem_type", PROBLEMS)
    def test_architectures_are_legal_and_within_depth(self, problem_type: str) -> None:
        algorithm = self._algorithm(problem_type)
        for history in _histories(problem_type):
            for seed in range(50):
                architecture = algorithm.propose(history, np.random.default_rng(seed)).architecture
                assert architecture == fix_order(architecture, algorithm.grammar.problem_type)
                assert 1 <= len(architecture) <= 4
                assert set(architecture) - {DEFAULT_FLATTEN, "FLATTEN"} <= set(algorithm.grammar.blocks)

    @pytest.mark.parametrize("problem_type", PROBLEMS)
    def test_parents_are_completed_trials(self, problem_type: str) -> None:
        algorithm = self._algorithm(problem_type)
        for history in _histories(problem_type):
            finished = {trial.id for trial in history.completed}
            parents = {algorithm.propose(history, np.random.default_rng(seed)).parent for seed in range(30)}
            assert parents - {None} <= finished

    @pytest.mark.parametrize("problem_type", PROBLEMS)
    def test_the_same_generator_gives_the_same_proposal_and_another_one_others(self, problem_type: str) -> None:
        algorithm, again = self._algorithm(problem_type), self._algorithm(problem_type)
        for history in _histories(problem_type):
            proposals = [algorithm.propose(history, np.random.default_rng(seed)) for seed in range(20)]
            assert proposals == [again.propose(history, np.random.default_rng(seed)) for seed in range(20)]
            if not len(history):
                assert (len({proposal.architecture for proposal in proposals}) > 1) == self.draws_at_random

    @pytest.mark.parametrize("name", FIXED)
    def test_towers_of_one_length_keep_to_their_positions(self, name: str) -> None:
        spec = make_spec(self.search_type, **FIXED[name])
        if not self.knows_positions:
            with pytest.raises(SpecError, match="does not go with position_choices"):
                make_algorithm(spec)
            return
        planner, grammar = make_planner(spec), Grammar.of(spec)
        history = run_study(planner, 40, _loss)
        assert len(history.completed) == 40
        assert all(grammar.fits(plan.architecture) for plan in _plans(history))

    def test_no_tower_comes_back_under_another_name(self) -> None:
        if not self.knows_positions:
            return
        spec = make_spec(self.search_type, learning=ONE_BIN, **FIXED["stages"])
        grammar = Grammar.of(spec)
        history = run_study(make_planner(spec), 7, _loss)
        assert len({grammar.canonical(plan.architecture) for plan in _plans(history)}) == 7
        with pytest.raises(SpaceExhaustedError):
            make_planner(spec).plan(8, history)

    def test_the_goal_is_turned_with_the_metric(self) -> None:
        """Maximizing a metric is minimizing its negative."""
        spec = make_spec(self.search_type, learning={"optimizers": ["adam"]})
        studies = {}
        for goal, sign in (("minimize", 1), ("maximize", -1)):
            planner = Planner(spec, PlannerSettings(0, 1000, batch_size=32), "loss", goal)
            history = run_study(planner, 30, _turned(sign), History("loss", goal))
            studies[goal] = sorted((plan.trial_id, plan.architecture) for plan in _plans(history))
        assert studies["minimize"] == studies["maximize"]

    def test_the_order_in_which_trials_become_known_changes_nothing(self) -> None:
        algorithm = self._algorithm("DNN")
        trials = _histories("DNN")[-1].completed
        forwards, backwards = (History("loss", "minimize") for _ in range(2))
        forwards.update(sorted(trials, key=lambda trial: trial.id))
        backwards.update(sorted(trials, key=lambda trial: -trial.id))
        for seed in range(10):
            first, second = (algorithm.propose(h, np.random.default_rng(seed)) for h in (forwards, backwards))
            assert first == second

    def test_ensembles_and_students_do_no_harm(self) -> None:
        planner = make_planner(make_spec(self.search_type))
        history = run_study(planner, 12, _loss)
        ensemble = make_plan(13, (), members=(1, 2), ensemble=EnsemblePlan("average"))
        student = make_plan(14, ("IDENTITY",), teacher=(1,), distillation=DistillationPlan("cross_entropy"))
        history.update([completed(13, 0.0, ensemble), completed(14, 0.0, student)])
        history.update([make_trial(15, TrialState.FAILED, make_plan(15)), make_trial(16, TrialState.FAILED)])
        history.update([running(17, make_plan(17, (), members=(1, 2), ensemble=EnsemblePlan("average")))])
        assert planner.plan(18, history).architecture

    def test_convolutions_keep_their_order(self) -> None:
        algorithm = self._algorithm("CNN")
        history = _histories("CNN")[-1]
        for seed in range(50):
            proposal = algorithm.propose(history, np.random.default_rng(seed))
            body = proposal.architecture
            flatten = next(i for i, name in enumerate(body) if name.endswith("FLATTEN"))
            assert not {"FULLY_CONNECTED", "FULLY_CONNECTED_PYRAMID"} & set(body[:flatten])
            assert set(body[flatten + 1 :]) <= {"FULLY_CONNECTED", "FULLY_CONNECTED_PYRAMID"}

    @pytest.mark.parametrize("problem_type", PROBLEMS)
    def test_everything_holds_each_architecture_once_and_all_that_is_proposed(self, problem_type: str) -> None:
        algorithm = self._algorithm(problem_type)
        empty = History("loss", "minimize")
        everything = [p.architecture for p in algorithm.everything(empty, np.random.default_rng(0))]
        assert len(everything) == len(set(everything))
        assert {algorithm.propose(empty, np.random.default_rng(seed)).architecture for seed in range(50)} <= set(
            everything
        )

    @pytest.mark.parametrize("seed", [0, 1])
    def test_nothing_is_tried_twice_until_everything_is_tried(self, seed: int) -> None:
        spec = self._tiny_spec()
        planner, empty = make_planner(spec, seed), History("loss", "minimize")
        count = self.reachable or sum(1 for _ in make_algorithm(spec).everything(empty, np.random.default_rng(0)))
        history = run_study(planner, count * 10, _loss)
        assert len({plan.key for plan in _plans(history)}) == count * 10
        with pytest.raises(SpaceExhaustedError, match="has been tried"):
            planner.plan(len(history) + 1, history)

    def test_running_trials_are_not_repeated_either(self) -> None:
        planner = make_planner(self._tiny_spec(maximum_depth=1))
        history = History("loss", "minimize")
        for trial_id in range(1, 21):
            history.update([running(trial_id, planner.plan(trial_id, history))])
        assert len({trial.plan.key for trial in history.unfinished if trial.plan is not None}) == 20
        with pytest.raises(SpaceExhaustedError):
            planner.plan(21, history)

    def test_a_trial_planned_late_descends_from_an_earlier_one(self) -> None:
        planner = make_planner(self._tiny_spec())
        history = History("loss", "minimize")
        history.update([completed(1, 5.0), completed(3, 1.0), completed(4, 2.0)])
        for attempt in range(20):
            assert planner.plan(2, history, attempt).parent in (None, 1)

    @pytest.mark.parametrize("seed", range(3))
    def test_what_can_never_be_built_is_soon_left_alone(self, seed: int) -> None:
        blocks = ("FULLY_CONNECTED", "FULLY_CONNECTED_PYRAMID", "LOWRANK_1", "LOWRANK_2", "BOTTLENECK_32", "IDENTITY")
        planner = make_planner(make_spec(self.search_type, blocks_to_use=blocks, beam_size=3), seed, sampler="auto")
        history = run_study(planner, 40, lambda plan: None if "IDENTITY" in plan.architecture else _loss(plan))
        assert len(history.failed) <= 4

    def test_with_one_of_two_blocks_that_cannot_be_built_the_other_one_is_used(self) -> None:
        """The archived default depth; the worker gives up after ten failures in a row."""
        spec = make_spec(self.search_type, blocks_to_use=("IDENTITY", "LOWRANK_1"), minimum_depth=2, maximum_depth=3)
        history = run_study(make_planner(spec, 1), 17, lambda plan: None if "IDENTITY" in plan.architecture else 1.0)
        assert len(history.failed) <= 5
        assert len(history.completed) >= 12
