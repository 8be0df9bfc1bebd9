"""Towers of cells from the specification to the exported model: maps, and sequences with padding."""

import keras
import numpy as np
import pytest
from sklearn.datasets import load_digits

import model_search
from model_search import cells, single_trainer
from model_search.data import image_data, sequence_data
from model_search.spec.load import load_text

ROWS = 160
GRAPHS = {
    "normal": '[[[0, "CELL_CONVOLUTION_3X3"], [1, "CELL_IDENTITY"]], [[2, "CELL_MAX_POOLING_3X3"], '
    '[0, "CELL_IDENTITY"]]]',
    "reduction": '[[[1, "CELL_CONVOLUTION_1X1"], [0, "CELL_IDENTITY"]], [[1, "CELL_AVERAGE_POOLING_3X3"], '
    '[2, "CELL_IDENTITY"]]]',
}  # fmt: skip
NORMAL = f'{{"normal": {GRAPHS["normal"]}, "reduction": {GRAPHS["reduction"]}}}'
IMAGES = f"problem_type: CNN cell {{ nodes: 2 channels: 3 }} user_suggestions {{ cells: '{NORMAL}' }}"
CHAIN = '{"recurrent": [[[0, "CELL_TANH"]], [[1, "CELL_RELU"]], [[1, "CELL_SIGMOID"]]]}'
STEPS = f"problem_type: RNN_LAST_ACTIVATIONS cell {{ nodes: 3 units: 6 }} user_suggestions {{ cells: '{CHAIN}' }}"


def digits():
    found = load_digits()
    return found.images[:ROWS].astype("uint8"), found.target[:ROWS]


def searched(root, provider, text):
    spec = load_text(f"{text} search: 'REGULARIZED_EVOLUTION' learning_spec {{ optimizers: 'adam' }}")
    return single_trainer.SingleTrainer(provider, spec).try_models(
        number_models=2,
        train_steps=20,
        eval_steps=None,
        root_dir=root,
        batch_size=32,
        experiment_name="cells",
        experiment_owner="tests",
        seed=1,
        progress=False,
        finish="ensemble",
    )


@pytest.fixture(scope="module")
def studies(tmp_path_factory):
    pictures, labels = digits()
    lengths = np.random.default_rng(0).integers(4, 9, ROWS)
    lines = [picture[:length] / 16.0 for picture, length in zip(pictures, lengths, strict=True)]
    roots = [tmp_path_factory.mktemp(name) for name in ("maps", "steps")]
    maps = searched(roots[0], image_data.Provider(x=pictures, y=labels), IMAGES)
    steps = searched(roots[1], sequence_data.Provider(lines, labels), STEPS)
    return {"maps": (maps, pictures), "steps": (steps, lines)}


@pytest.mark.parametrize(("name", "graphs"), [("maps", NORMAL), ("steps", CHAIN)])
def test_a_suggested_cell_is_trained_and_what_the_search_finds_has_cells(studies, name, graphs):
    study, _ = studies[name]
    first, second = (study.trial(number).plan for number in (1, 2))
    assert cells.to_json(first.architecture) == graphs
    assert cells.has_cells(second.architecture) and second.architecture != first.architecture
    assert np.isfinite([study.trial(number).objective("loss") for number in (1, 2)]).all()


@pytest.mark.parametrize("name", ["maps", "steps"])
def test_a_stored_and_an_exported_tower_answer_alike_in_plain_keras(studies, name, tmp_path):
    study, rows = studies[name]
    expected = study.predict_proba(rows[:5], trial=1)
    assert np.allclose(model_search.load_study(*_place(study)).predict_proba(rows[:5], trial=1), expected)
    study.export(tmp_path / "exported", trial=1)
    model = keras.models.load_model(tmp_path / "exported" / "model.keras", safe_mode=True)
    assert any("cell" in layer.name for layer in model._flatten_layers())


def test_the_report_draws_the_graphs(studies):
    for name, drawn in (("maps", ("normal", "reduction")), ("steps", ("recurrent",))):
        text = studies[name][0].report().read_text()
        assert all(f"The {kind} cell" in text for kind in drawn)
        assert text.count('class="node"') >= 3
        assert "The graphs as JSON" in text


def test_padding_does_not_reach_the_state(studies):
    """The same rows among longer ones, so that their padding is longer."""
    study, lines = studies["steps"]
    by_themselves = study.predict_proba(lines[:3], trial=1)
    assert np.allclose(study.predict_proba([*lines[:3], *lines[20:40]], trial=1)[:3], by_themselves, atol=1e-6)


def _place(study):
    return study.folder.parent, study.folder.name
