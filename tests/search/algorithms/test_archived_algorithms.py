"""The searches of the archived system, with what was wrong in them put right."""

import numpy as np
import pytest
from search_factory import completed, make_plan, make_planner, make_spec, run_study

from model_search.errors import SpecError
from model_search.search.algorithms.harmonica import _Polynomial
from model_search.search.algorithms.registry import make_algorithm
from model_search.search.history.history import History
from model_search.search.space.architecture import DEFAULT_FLATTEN

BLOCKS = ("FULLY_CONNECTED", "IDENTITY", "BOTTLENECK_32", "LOWRANK_1")
CELLS = "CONSTRAINED_ADAPTIVE_COORDINATE_DESCENT"
DOWN = "DOWNSAMPLE_CONVOLUTION_3X3"


def _history(losses, architectures):
    history = History("loss", "minimize")
    plans = (make_plan(i, architecture) for i, architecture in enumerate(architectures, start=1))
    history.update(completed(plan.trial_id, loss, plan) for plan, loss in zip(plans, losses, strict=True))
    return history


def _proposals(spec, history, count=60):
    algorithm = make_algorithm(spec)
    return [algorithm.propose(history, np.random.default_rng(seed)) for seed in range(count)]


def _cells(**fields):
    fields = {"problem_type": "CNN", "num_blocks_in_cell": 2, "minimum_depth": 2, "maximum_depth": 9} | fields
    return make_spec(CELLS, **fields)


CONVOLUTIONS = ("CONVOLUTION_3X3", "RESNET_3X3")


def test_a_reduction_stands_behind_every_cell():
    spec = _cells(blocks_to_use=CONVOLUTIONS)
    history = run_study(make_planner(spec), 60, lambda plan: -float(len(plan.architecture)))
    depths = set()
    for trial in history.completed:
        *body, flatten = trial.plan.architecture
        assert flatten == DEFAULT_FLATTEN
        assert [i for i, name in enumerate(body) if name == DOWN] == list(range(2, len(body), 3))
        depths.add(len(body) + 1)
    assert depths == {4, 5, 7, 8}


def test_a_tower_of_convolutions_alone_grows():
    history = _history([1.0] * 20, [("RESNET_3X3", DEFAULT_FLATTEN)] * 20)
    grown = _proposals(_cells(blocks_to_use=CONVOLUTIONS), history)
    assert {len(p.architecture) for p in grown} == {4}
    assert all(p.parent is not None for p in grown)


def test_reductions_and_flatten_blocks_are_never_drawn():
    spec = _cells(blocks_to_use=["MAX_POOLING_2X2", "FLATTEN", *CONVOLUTIONS, "DOWNSAMPLE_FLATTEN"])
    for proposal in _proposals(spec, _history([1.0], [("MAX_POOLING_2X2", "RESNET_3X3", "FLATTEN")])):
        assert set(proposal.architecture) <= {*CONVOLUTIONS, DOWN, "FLATTEN"}
        assert proposal.architecture.count("FLATTEN") == 1


def test_replicated_cells_are_equal_and_fill_the_depth():
    spec = _cells(blocks_to_use=CONVOLUTIONS, replicate_cell=True)
    history = run_study(make_planner(spec), 20, lambda plan: 1.0)
    for trial in history.completed:
        body = trial.plan.architecture[:-1]
        cells = [body[i : i + 2] for i in range(0, len(body), 3)]
        assert len(cells) == 2 and cells[0] == cells[1]
        assert all(body[i] == DOWN for i in (2, 5))


def test_a_depth_without_room_for_the_cell_gives_a_smaller_one():
    spec = _cells(blocks_to_use=CONVOLUTIONS, replicate_cell=True, num_blocks_in_cell=4, maximum_depth=4)
    assert {p.architecture[2:] for p in _proposals(spec, History("loss", "minimize"))} == {(DOWN, DEFAULT_FLATTEN)}


def test_where_there_are_no_maps_there_is_a_reduction_only_if_it_is_named():
    def blocks(**fields):
        spec = make_spec(CELLS, minimum_depth=2, num_blocks_in_cell=2, **fields)
        return {name for p in _proposals(spec, History("loss", "minimize")) for name in p.architecture}

    assert DOWN not in blocks()
    assert "BOTTLENECK_64" in blocks(reduction_block_type="BOTTLENECK_64")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"blocks_to_use": ["MAX_POOLING_2X2", "FLATTEN"]}, "names no block for the cells"),
        ({"num_blocks_in_cell": 0}, "num_blocks_in_cell is 0"),
        ({"beam_size": 0}, "beam_size is 0"),
        ({"reduction_block_type": "NO"}, "no block 'NO'"),
    ],
)
def test_cells_that_make_no_sense_are_refused(fields, words):
    with pytest.raises(SpecError, match=words):
        make_algorithm(_cells(**fields))


def test_the_polynomial_is_what_its_coefficients_say():
    polynomial = _Polynomial(
        1.0, np.array([2.0, 0.0, -1.0]), np.array([0.0, 3.0, -4.0]), np.array([[0, 1], [0, 2], [1, 2]])
    )
    x, y, z = point = np.array([1.5, 0.5, -2.0])
    assert polynomial.values(point[None])[0] == pytest.approx(1 + 2 * x - z + 3 * x * z - 4 * y * z)
    assert polynomial.relevant(3) == [1, 2, 0, 2, 0]
    assert polynomial.relevant(10) == [1, 2, 0, 2, 0, 2]


@pytest.mark.parametrize("goal", ["minimize", "maximize"])
def test_harmonica_finds_the_few_positions_that_matter(goal):
    """Only two positions of six matter."""
    spec = make_spec("HARMONICA_SEARCH", blocks_to_use=BLOCKS, minimum_depth=6, maximum_depth=6)
    sign = 1 if goal == "minimize" else -1
    rng, history = np.random.default_rng(0), History("loss", goal)

    def loss(architecture):
        return sign * (float(architecture[1] != "LOWRANK_1") + float(architecture[4] != "IDENTITY"))

    drawn = [tuple(BLOCKS[i] for i in rng.integers(4, size=6)) for _ in range(60)]
    history.update(completed(i, loss(a), make_plan(i, a)) for i, a in enumerate(drawn, start=1))
    assert np.mean([loss(p.architecture) for p in _proposals(spec, history, 10)]) == 0


def test_harmonica_leaves_out_towers_of_other_lengths():
    spec = make_spec("HARMONICA_SEARCH", blocks_to_use=BLOCKS, minimum_depth=2)
    history = _history([1.0, 2.0, 3.0], [("IDENTITY",), ("IDENTITY",) * 3, ("LSTM_128",) * 2])
    assert {len(p.architecture) for p in _proposals(spec, history)} == {2}


def test_harmonica_with_a_single_block_has_nothing_to_learn():
    spec = make_spec("HARMONICA_SEARCH", blocks_to_use=["IDENTITY"], minimum_depth=2)
    history = _history([1.0, 2.0], [("IDENTITY",) * 2] * 2)
    assert {p.architecture for p in _proposals(spec, history, 3)} == {("IDENTITY",) * 2}


def _linear(**settings):
    fields = settings.pop("fields", {})
    spec = {"blocks_to_use": BLOCKS, "increase_complexity_probability": 0.0, "maximum_depth": 3} | fields
    return make_spec("LINEAR_MODEL", linear_model={"trials_before_fit": 3} | settings, **spec)


PAIRS = [(a, b) for a in BLOCKS for b in BLOCKS]


def _pairs(without):
    """All pairs but one; the loss is 0 for the one that is missing."""
    known = [pair for pair in PAIRS if pair != without]
    return _history([float(a != without[0]) + float(b != without[1]) for a, b in known], known)


def test_the_linear_model_puts_together_the_best_blocks():
    spec = _linear(fields={"minimum_depth": 2, "maximum_depth": 2})
    for missing in PAIRS[3:6]:
        assert {p.architecture for p in _proposals(spec, _pairs(missing), 5)} == {missing}


def test_what_was_tried_is_changed_until_it_is_new():
    spec, missing = _linear(fields={"minimum_depth": 2, "maximum_depth": 2}), PAIRS[5]
    history = _pairs(missing)
    history.update([completed(16, 0.0, make_plan(16, missing))])
    history.update([completed(17, 1.0, make_plan(17, ("LSTM_128",) * 2))])
    assert missing not in {p.architecture for p in _proposals(make_spec("LINEAR_MODEL"), history, 5)}
    assert len(_proposals(spec, history, 1)[0].architecture) == 2


@pytest.mark.parametrize(("alignment", "shorter"), [(1, True), (2, True)])
def test_positions_are_counted_from_either_end_and_may_be_empty(alignment, shorter):
    """Deeper towers are worse, and a tower of one block is best with LOWRANK_1."""
    towers = [(a,) for a in BLOCKS[:3]] + PAIRS
    losses = [len(tower) - 0.5 * tower.count("LOWRANK_1") for tower in towers]
    proposals = _proposals(_linear(network_alignment=alignment), _history(losses, towers), 5)
    assert {p.architecture for p in proposals} == {("LOWRANK_1",)}


def test_a_block_is_added_where_the_depth_allows_it():
    spec = _linear(fields={"increase_complexity_probability": 1.0})
    towers = [(a,) for a in BLOCKS[:3]]
    few = _proposals(spec, _history([1.0, 2.0, 3.0], towers))
    assert {len(p.architecture) for p in few} == {1}
    enough = _proposals(spec, _history([1.0, 2.0, 3.0] * 2, towers * 2))
    assert {len(p.architecture) for p in enough} == {2}


@pytest.mark.parametrize(("remove", "best"), [(True, "IDENTITY"), (False, "LOWRANK_1")])
def test_outliers_are_left_out(remove, best):
    """IDENTITY is best but for one trial that diverged."""
    towers = [("IDENTITY",)] * 9 + [("LOWRANK_1",)] * 9 + [("IDENTITY",)]
    history = _history([1 + i / 100 for i in range(9)] + [2 + i / 100 for i in range(9)] + [1e6], towers)
    algorithm = make_algorithm(_linear(remove_outliers=remove, fields={"maximum_depth": 1}))
    kept = algorithm._kept(algorithm.towers(history))
    assert algorithm._best(kept, np.random.default_rng(0)) == (best,) if remove else len(kept) == 19


@pytest.mark.parametrize(
    ("settings", "words"), [({"ridge_penalty": -1.0}, "ridge_penalty is -1"), ({"trials_before_fit": 0}, "is 0")]
)
def test_models_that_make_no_sense_are_refused(settings, words):
    with pytest.raises(SpecError, match=words):
        make_algorithm(_linear(**settings))
