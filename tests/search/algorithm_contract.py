"""What every search algorithm keeps to. Inherit from `AlgorithmContract` and name the algorithm."""

from typing import ClassVar

import numpy as np
import pytest
from search_factory import completed, make_plan, make_planner, make_spec, run_study, running

from model_search.errors import SpaceExhaustedError
from model_search.metadata.trial import TrialPlan
from model_search.search.algorithm import SearchAlgorithm
from model_search.search.algorithms import make_algorithm
from model_search.search.architecture import DEFAULT_FLATTEN, fix_order
from model_search.search.history import History

ARCHITECTURES = {
    "DNN": [("FULLY_CONNECTED",), ("LOWRANK_1", "IDENTITY"), ("IDENTITY", "LOWRANK_1", "BOTTLENECK_32")],
    "CNN": [
        ("CONVOLUTION_3X3", "PLATE_REDUCTION_FLATTEN"),
        ("FLATTEN", "FULLY_CONNECTED"),
        ("RESNET_3X3", "CONVOLUTION_3X3", "PLATE_REDUCTION_FLATTEN", "FULLY_CONNECTED"),
    ],
}
PROBLEMS = ("DNN", "CNN", "RNN_LAST_ACTIVATIONS")


def _loss(plan: TrialPlan) -> float:
    return sum(len(block) for block in plan.architecture) / 10


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
    """The contract; `search_type` names the algorithm in a spec."""

    search_type: ClassVar[str]
    # Architectures it can reach with two blocks at minimum_depth 1 and maximum_depth 2.
    reachable: ClassVar[int]

    def _algorithm(self, problem_type: str) -> SearchAlgorithm:
        fields = {"blocks_to_use": ("LSTM_128", "RNN_CELL_64")} if problem_type.startswith("RNN") else {}
        return make_algorithm(make_spec(self.search_type, problem_type, beam_size=3, **fields))

    def _tiny_spec(self, **fields):
        """Two blocks, one optimizer: the reachable architectures times the ten bins of the learning rate."""
        fields = {"blocks_to_use": ("IDENTITY", "LOWRANK_1"), "maximum_depth": 2} | fields
        return make_spec(self.search_type, learning={"optimizers": ["adam"]}, **fields)

    @pytest.mark.parametrize("problem_type", PROBLEMS)
    def test_architectures_are_legal_and_within_depth(self, problem_type):
        algorithm = self._algorithm(problem_type)
        for history in _histories(problem_type):
            for seed in range(50):
                architecture = algorithm.propose(history, np.random.default_rng(seed)).architecture
                assert architecture == fix_order(architecture, problem_type)
                assert 1 <= len(architecture) <= 4
                assert set(architecture) - {DEFAULT_FLATTEN, "FLATTEN"} <= set(algorithm.grammar.blocks)

    @pytest.mark.parametrize("problem_type", PROBLEMS)
    def test_parents_are_completed_trials(self, problem_type):
        algorithm = self._algorithm(problem_type)
        for history in _histories(problem_type):
            finished = {trial.id for trial in history.completed}
            parents = {algorithm.propose(history, np.random.default_rng(seed)).parent for seed in range(30)}
            assert parents - {None} <= finished

    @pytest.mark.parametrize("problem_type", PROBLEMS)
    def test_the_same_generator_gives_the_same_proposal_and_another_one_others(self, problem_type):
        algorithm, again = self._algorithm(problem_type), self._algorithm(problem_type)
        for history in _histories(problem_type):
            proposals = [algorithm.propose(history, np.random.default_rng(seed)) for seed in range(20)]
            assert proposals == [again.propose(history, np.random.default_rng(seed)) for seed in range(20)]
            assert len({proposal.architecture for proposal in proposals}) > 1

    def test_convolutions_keep_their_order(self):
        algorithm = self._algorithm("CNN")
        history = _histories("CNN")[-1]
        for seed in range(50):
            proposal = algorithm.propose(history, np.random.default_rng(seed))
            body = proposal.architecture
            flatten = next(i for i, name in enumerate(body) if name.endswith("FLATTEN"))
            assert not {"FULLY_CONNECTED", "FULLY_CONNECTED_PYRAMID"} & set(body[:flatten])
            assert set(body[flatten + 1 :]) <= {"FULLY_CONNECTED", "FULLY_CONNECTED_PYRAMID"}

    @pytest.mark.parametrize("problem_type", PROBLEMS)
    def test_everything_holds_each_architecture_once_and_all_that_is_proposed(self, problem_type):
        algorithm = self._algorithm(problem_type)
        empty = History("loss", "minimize")
        everything = [p.architecture for p in algorithm.everything(empty, np.random.default_rng(0))]
        assert len(everything) == len(set(everything))
        assert {algorithm.propose(empty, np.random.default_rng(seed)).architecture for seed in range(50)} <= set(
            everything
        )

    @pytest.mark.parametrize("seed", [0, 1])
    def test_nothing_is_tried_twice_until_everything_is_tried(self, seed):
        planner = make_planner(self._tiny_spec(), seed)
        history = run_study(planner, self.reachable * 10, _loss)
        assert len({trial.plan.key for trial in history.completed}) == self.reachable * 10
        with pytest.raises(SpaceExhaustedError, match="has been tried"):
            planner.plan(len(history) + 1, history)

    def test_running_trials_are_not_repeated_either(self):
        planner = make_planner(self._tiny_spec(maximum_depth=1))
        history = History("loss", "minimize")
        for trial_id in range(1, 21):
            history.update([running(trial_id, planner.plan(trial_id, history))])
        assert len({trial.plan.key for trial in history.unfinished}) == 20
        with pytest.raises(SpaceExhaustedError):
            planner.plan(21, history)

    def test_a_trial_planned_late_descends_from_an_earlier_one(self):
        planner = make_planner(self._tiny_spec())
        history = History("loss", "minimize")
        history.update([completed(1, 5.0), completed(3, 1.0), completed(4, 2.0)])
        for attempt in range(20):
            assert planner.plan(2, history, attempt).parent in (None, 1)
