"""What an exported model answers to logits, without files."""

import keras

from model_search.finish.export import ModelBundle, serving_model

HOSTILE_LABELS = ("", "NA", "[UNK]", "[other]", "new\nline", "quote'\"", "ünï 列", " lead", "x,y")


def answers_in_process(task, logits):
    """The answers of a model whose tower gives these logits."""
    features = keras.Input((logits.shape[1],), name="features")
    tower = keras.Model(features, keras.layers.Activation("linear")(features))
    return serving_model(ModelBundle(tower, task, None))(logits)
