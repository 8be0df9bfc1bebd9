"""The embedding block: vectors of token ids, and where it stands in a tower."""

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_search import constants
from model_search.blocks import Block, catalogue, register_block
from model_search.blocks.block import BlockSettings, call_block
from model_search.blocks.registration import make_block
from model_search.data.rows import InputSpec
from model_search.errors import SpecError, TrialError
from model_search.metadata.trial import Trial, TrialResult, TrialState
from model_search.search.history.history import History
from model_search.search.planning.planner import Planner, PlannerSettings
from model_search.search.space.architecture import body_of, canonical, fix_order, problem_type_of, replaceable_positions
from model_search.search.space.equivalence import Equivalence
from model_search.search.space.grammar import Grammar
from model_search.spec.load import load_spec, load_text
from model_search.towers.builder import TowerSpec, build_tower

TOKENS = {"tokens": InputSpec((4,), "int32", "lengths", vocabulary=9), "lengths": InputSpec((), "int32")}
TEXT = load_spec(constants.DEFAULT_TEXT)


def tower(architecture, inputs=TOKENS, seed=0):
    return build_tower(
        TowerSpec(architecture, inputs, 2, "RNN_LAST_ACTIVATIONS", block_hparams={"EMBEDDING_width": 16}, seed=seed)
    )


def test_each_id_has_a_vector_that_is_learnt():
    tokens = keras.Input((4,), dtype="int32")
    output = call_block(make_block("EMBEDDING", "0_EMBEDDING"), [tokens], hparams=BlockSettings(vocabulary=9, width=3))
    model = keras.Model(tokens, output[-1])
    (vectors,) = model.trainable_weights
    assert vectors.shape == (9, 3)
    ids = np.array([[8, 0, 1, 8]], np.int32)
    np.testing.assert_array_equal(model(ids), vectors.numpy()[ids])


def test_padding_and_its_ids_do_not_matter():
    for pooling in ("MASKED_MEAN_MAX_POOLING", "ATTENTION_POOLING", "GRU_64"):
        model = tower(("EMBEDDING", pooling))
        given_ids = {"tokens": np.array([[3, 4, 0, 0], [3, 4, 7, 8]], np.int32), "lengths": np.array([2, 2], np.int32)}
        one, other = np.asarray(model(given_ids))
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_the_seed_decides_the_vectors():
    first, same, other = (tower(("EMBEDDING", "MASKED_MEAN_POOLING"), seed=seed).get_weights()[0] for seed in (1, 1, 2))
    assert np.array_equal(first, same)
    assert not np.array_equal(first, other)


def test_numbers_are_no_ids():
    sequence = {"features": InputSpec((4, 3), lengths="lengths"), "lengths": InputSpec((), "int32")}
    with pytest.raises(TrialError, match="EMBEDDING received float32 of shape"):
        tower(("EMBEDDING", "GRU_64"), sequence)


NAMES = st.lists(st.sampled_from(["EMBEDDING", "LSTM_32", "MASKED_MEAN_POOLING", "FULLY_CONNECTED"]), max_size=6)


@given(NAMES)
def test_every_tower_of_text_begins_with_one_embedding(blocks):
    problem = problem_type_of(TEXT)
    fixed = fix_order(blocks, problem)
    assert fixed[0] == "EMBEDDING"
    assert fixed.count("EMBEDDING") == 1
    assert fix_order(fixed, problem) == fixed
    assert "EMBEDDING" not in body_of(fixed)
    assert 0 not in replaceable_positions(fixed)
    same = Equivalence(frozenset({"FULLY_CONNECTED"}))
    assert canonical(fixed, problem, same)[0] == "EMBEDDING"


def test_a_specification_without_embedding_is_as_before():
    problem = problem_type_of(load_spec(constants.DEFAULT_SEQUENCE))
    assert (problem.first_block, problem.added_size) == (None, 0)
    assert fix_order(["LSTM_32"], problem) == ("LSTM_32",)


def test_the_search_draws_other_blocks_alone():
    grammar = Grammar.of(TEXT)
    assert "EMBEDDING" not in grammar.blocks
    rng = np.random.default_rng(0)
    for _ in range(30):
        drawn = grammar.random(rng, 2)
        assert len(drawn) == 3 or "POOLING" in "".join(drawn)
        for changed in (drawn, grammar.mutate(drawn, rng), grammar.vary(drawn, rng), grammar.grow(drawn, rng)):
            assert changed[0] == "EMBEDDING"
    with pytest.raises(SpecError, match="position 0 may have EMBEDDING, which every tower begins with"):
        Grammar.of(
            load_text(
                'problem_type: RNN_LAST_ACTIVATIONS minimum_depth: 1 maximum_depth: 1 blocks_to_use: ["EMBEDDING", '
                '"LSTM_32"] position_choices { blocks: "EMBEDDING" }'
            )
        )


SEARCHES = (
    "ADAPTIVE_COORDINATE_DESCENT", "NONADAPTIVE_RANDOM_SEARCH", "HARMONICA_SEARCH", "LINEAR_MODEL", "REINFORCE",
    "REGULARIZED_EVOLUTION", "GAUSSIAN_PROCESS", "CONSTRAINED_ADAPTIVE_COORDINATE_DESCENT", "LOCAL_SEARCH",
)  # fmt: skip


@pytest.mark.parametrize("search", SEARCHES)
def test_every_search_proposes_towers_that_begin_with_it(search):
    text = (
        f"problem_type: RNN_LAST_ACTIVATIONS search_type: {search} minimum_depth: 1 maximum_depth: 4 blocks_to_use: "
        '["EMBEDDING", "LSTM_32", "GRU_64", "MASKED_MEAN_POOLING"]'
    )
    planner = Planner(load_text(text), PlannerSettings(seed=1, train_steps=10, batch_size=4), "loss", "minimize")
    history = History("loss", "minimize")
    for trial_id in range(1, 16):
        plan = planner.plan(trial_id, history)
        assert plan.architecture[0] == "EMBEDDING"
        assert plan.architecture.count("EMBEDDING") == 1
        assert 2 <= len(plan.architecture) <= 4 or search == "CONSTRAINED_ADAPTIVE_COORDINATE_DESCENT"
        assert 16 <= plan.hyperparameters["EMBEDDING_width"] <= 256
        result = TrialResult({"loss": 1 / trial_id}, 1, 1, {})
        history.update([Trial(trial_id, TrialState.COMPLETED, 1, trial_id, "w", plan=plan, result=result)])


def test_an_embedding_of_ones_own_comes_first_too():
    class Own(Block):
        reads_token_ids = True

        def build(self, input_tensors, is_training, lengths=None, hparams=None):
            return [*input_tensors, keras.layers.Embedding(hparams.vocabulary, 5)(input_tensors[-1])]

    register_block("T_OWN_EMBEDDING", reads_rank=1, writes_rank=2)(Own)
    try:
        spec = load_text('problem_type: RNN_LAST_ACTIVATIONS blocks_to_use: ["LSTM_32", "T_OWN_EMBEDDING"]')
        architecture = fix_order(["LSTM_32"], problem_type_of(spec))
        assert architecture == ("T_OWN_EMBEDDING", "LSTM_32")
        assert tower(architecture).weights[0].shape == (9, 5)
    finally:
        catalogue.unregister("T_OWN_EMBEDDING")
