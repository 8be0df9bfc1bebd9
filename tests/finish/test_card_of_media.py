"""The card and the description of models that read pictures or recordings say what the SavedModel takes."""

import dataclasses

import keras
import pytest
from markdown_it import MarkdownIt

from model_search.data.audio.log_mel import LogMel
from model_search.data.images.picture_format import PictureFormat
from model_search.data.rows import InputSpec
from model_search.data.task import Task, TaskKind
from model_search.finish.model_card import description, model_card
from model_search.finish.serving import ModelBundle

TASK = Task(TaskKind.CLASSIFICATION, "kind", 2, ("a", "b"))


@pytest.fixture
def bundle():
    inputs = keras.Input((10, 4), name="sequence")
    tower = keras.Model({"sequence": inputs}, keras.layers.Dense(2)(keras.layers.Flatten()(inputs)))
    origin = {"study": "s", "name": "trial 1", "metrics": {}, "environment": {}}
    return ModelBundle(tower, TASK, None, metadata=origin, inputs={"sequence": InputSpec((10, 4), "float32")})


def test_sound(bundle):
    wanted = dataclasses.replace(LogMel.usual(8000, bands=4), centred=True, top_db=40.0)
    found = description(dataclasses.replace(bundle, audio=wanted))
    assert LogMel.from_json(found["audio"]) == wanted and "images" not in found
    card = model_card(found, ("keras", "saved_model"))
    assert "takes `waveform`, float32 [rows, samples] from -1 to 1 at 8000 Hz" in card
    assert "at most 40 dB below the loudest one, less its mean over the recording" in card


def test_pictures(bundle):
    wanted = PictureFormat(10, 4, 1)
    found = description(dataclasses.replace(bundle, images=wanted))
    assert found["images"] == wanted.to_json() and "audio" not in found
    assert "takes `image`, the contents of PNG, JPEG or GIF files" in model_card(found, ("saved_model",))


def test_channels_with_names(bundle):
    stored = {"task": TASK.to_json(), "schema": None, "sequences": {"names": ["left", "up|down", "b", "c"]}}
    stored["inputs"] = {name: spec.to_json() for name, spec in bundle.inputs.items()}
    found = description(ModelBundle.of_study(bundle.tower, stored, [1.0], bundle.metadata))
    assert found["channels"] == ["left", "up|down", "b", "c"]
    assert "has the channels, in this order: left, up\\|down, b, c." in model_card(found, ("keras",))
    nameless = description(ModelBundle.of_study(bundle.tower, stored | {"sequences": {}}, [1.0], bundle.metadata))
    assert "channels" not in nameless and "channels" not in model_card(nameless, ("keras",))


def test_others(bundle):
    assert not {"images", "audio"} & set(description(bundle))
    assert "`serving_default`" not in model_card(description(bundle), ("keras",))


@pytest.mark.parametrize("note", ["8", "3) more", "- a", "# a", "1. one"])
def test_a_note_begins_no_list(bundle, note):
    found = description(dataclasses.replace(bundle, metadata={**bundle.metadata, "notes": [note]}))
    tokens = MarkdownIt("commonmark").parse(model_card(found, ("keras",)))
    assert [token.map for token in tokens if token.type in ("ordered_list_open", "bullet_list_open")] == []
    assert any(token.content.startswith(note) for inline in tokens for token in inline.children or ())
