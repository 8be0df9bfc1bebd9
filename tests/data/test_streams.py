"""Custom providers: what an `input_fn` may yield. Lists of batches stand for datasets."""

import itertools
import types

import numpy as np
import pytest

import model_search
from model_search.data import provider as data_module
from model_search.data.later_rows import labelled_rows
from model_search.data.prepare_options import PrepareOptions
from model_search.data.prepared_data import StreamData
from model_search.data.provider import Provider, lookup_provider, register_provider
from model_search.data.rows import InputSpec
from model_search.data.task import TaskKind
from model_search.errors import DataError, UnsupportedError, UserError

OPTIONS = PrepareOptions(seed=1, batch_size=4)
X = np.arange(24, dtype=np.float32).reshape(12, 2)
Y = np.arange(12) % 3


class Stub(Provider):
    def __init__(self, train, evaluation=None, classes=3, feature_columns=None):
        self.train, self.evaluation = train, train if evaluation is None else evaluation
        self.classes, self.feature_columns = classes, feature_columns
        self.asked = []

    def get_input_fn(self, hparams, mode, batch_size):
        self.asked.append((mode, hparams.batch_size, batch_size))
        return lambda: self.train if mode == "train" else self.evaluation

    def number_of_classes(self):
        return self.classes

    def get_feature_columns(self):
        return self.feature_columns


def batches(x=X, y=Y, size=4):
    return [(x[i : i + size], y[i : i + size]) for i in range(0, len(y), size)]


def take(data, count, seed=5):
    return list(itertools.islice(data.train_batches(seed), count))


def test_a_pair_of_arrays_is_cut_into_batches_and_opened_again():
    provider = Stub((X, Y))
    data = provider.prepare(OPTIONS)
    assert isinstance(data, StreamData)
    np.testing.assert_array_equal(data.valid.inputs["features"], X)
    assert data.valid.label.dtype == np.int32
    assert data.task.classes == (0, 1, 2)
    found = take(data, 7)
    for epoch in (found[:3], found[3:6]):
        assert sorted(np.concatenate([rows.inputs["features"][:, 0] for rows in epoch]).tolist()) == X[:, 0].tolist()
    assert not np.array_equal(found[0].inputs["features"], found[3].inputs["features"])
    np.testing.assert_array_equal(found[6].inputs["features"], take(data, 7)[6].inputs["features"])
    assert ("eval", 4, 4) in provider.asked


def test_labels_follow_their_features():
    data = Stub((X, Y)).prepare(OPTIONS)
    for rows in take(data, 6):
        assert rows.label.tolist() == (rows.inputs["features"][:, 0] / 2 % 3).tolist()


def test_the_evaluation_is_read_once_and_bounded():
    endless = itertools.cycle(batches())
    data = Stub(batches(), endless).prepare(PrepareOptions(seed=1, batch_size=4, eval_steps=5))
    assert len(data.valid) == 20


def test_an_endless_evaluation_is_cut(monkeypatch):
    monkeypatch.setattr("model_search.data.streams.MAX_EVAL_ROWS", 30)
    assert len(Stub(batches(), itertools.cycle(batches())).prepare(OPTIONS).valid) == 32


def test_dict_features_are_ordered_by_name_or_by_feature_columns():
    features = {"b": X[:, 0], "a": X[:, 1:], "unused": Y}
    data = Stub([(features, Y)]).prepare(OPTIONS)
    np.testing.assert_array_equal(data.valid.inputs["features"], np.column_stack([X[:, 1], X[:, 0], Y]))
    assert data.description["columns"] == ["a", "b", "unused"]
    numeric = [types.SimpleNamespace(key=key, shape=(1,)) for key in "ba"]
    data = Stub([(features, Y)], feature_columns=numeric).prepare(OPTIONS)
    np.testing.assert_array_equal(data.valid.inputs["features"], X)
    assert data.valid.inputs["features"].dtype == np.float32


def test_images_keep_their_shape():
    images = np.zeros((12, 4, 5, 3), np.uint8)
    single, named = Stub((images, Y)).prepare(OPTIONS), Stub(({"image": images}, Y)).prepare(OPTIONS)
    assert single.input_specs == {"features": InputSpec((4, 5, 3), "uint8")}
    assert named.input_specs == {"image": InputSpec((4, 5, 3), "uint8")}
    assert named.valid.inputs["image"].dtype == np.uint8


@pytest.mark.parametrize(
    ("labels", "classes", "expected"),
    [
        (Y[:, None], 3, (0, 1, 2)),
        (Y.astype(np.float32), 3, (0, 1, 2)),
        (np.eye(3)[Y], 3, (0, 1, 2)),
        (np.array(["u", "v", "w"])[Y], 3, ("u", "v", "w")),
        (np.array([b"u", b"v", b"w"], dtype=object)[Y], 3, ("u", "v", "w")),
        (Y == 1, 2, (False, True)),
        (Y, 5, (0, 1, 2, 3, 4)),
    ],
)
def test_labels_of_every_kind(labels, classes, expected):
    data = Stub(batches(y=labels), classes=classes).prepare(OPTIONS)
    assert data.task.classes == expected
    assert data.valid.label.tolist() == ((Y == 1).astype(int) if classes == 2 else Y).tolist()


def test_regression_is_scaled():
    targets = 100 + 10 * X[:, 0]
    data = Stub(batches(y=targets), classes=1).prepare(OPTIONS)
    assert data.task.kind is TaskKind.REGRESSION
    assert data.valid.label.shape == (12, 1)
    np.testing.assert_allclose(
        data.valid.label[:, 0] * data.task.target_scale + data.task.target_mean, targets, rtol=1e-5
    )
    two = Stub(batches(y=np.column_stack([targets, -targets])), classes=2).prepare(OPTIONS)
    assert (two.task.kind, two.valid.label.shape) == (TaskKind.REGRESSION, (12, 2))


def test_weights_may_come_third():
    data = Stub([(X, Y, np.arange(12))]).prepare(OPTIONS)
    assert data.valid.weight.tolist() == list(range(12))


def test_own_loss_and_metric_are_kept():
    class Own(Stub):
        def get_loss_fn(self):
            return max

        def get_metric_fn(self):
            return min

    data = Own((X, Y)).prepare(OPTIONS)
    assert (data.loss_fn, data.metric_fn) == (max, min)


def test_fingerprint_does_not_depend_on_the_order():
    first = Stub((X, Y)).prepare(OPTIONS).fingerprint
    assert Stub((X[::-1], Y[::-1])).prepare(OPTIONS).fingerprint == first
    assert Stub((X + 1, Y)).prepare(OPTIONS).fingerprint != first


TEXTS = np.array(["u"] * 12, dtype=object)


@pytest.mark.parametrize(
    ("arguments", "error", "sentence"),
    [
        ({"train": []}, DataError, "yields no batch"),
        ({"train": [X]}, DataError, r"expected pairs \(features, labels\)"),
        ({"train": 7}, DataError, "returned int; expected a tf.data.Dataset"),
        ({"train": [(X[0], Y[0])]}, DataError, r"single values.*\.batch\(batch_size\)"),
        ({"train": [(X, Y[:5])]}, DataError, "12 rows of features and 5 labels"),
        ({"train": [(X, {"a": Y})]}, UnsupportedError, "a dict of labels"),
        ({"train": [({"a": TEXTS}, Y)]}, UnsupportedError, "feature 'a' is object"),
        ({"train": [(X * np.nan, Y)]}, DataError, "NaN or infinite"),
        ({"train": [({}, Y)]}, DataError, "empty dict"),
        ({"train": [(X, Y + 1)]}, DataError, r"labels outside 0 \.\.\. 2"),
        ({"train": [(X, np.full(12, np.nan))]}, DataError, "labels outside"),
        ({"train": [(X, TEXTS)]}, DataError, "1 different labels"),
        ({"train": [(X, np.array(list("uvwxuvwxuvwx")))]}, DataError, "4 different texts"),
        ({"train": [(X, TEXTS)], "classes": 1}, DataError, r"number_of_classes\(\) is 1, yet the labels"),
        ({"train": [(X, Y)], "classes": 0}, DataError, "expected at least 1"),
        ({"train": [(X, Y), (X[:, :1], Y)]}, DataError, r"shape \(1,\) a row; expected \(2,\)"),
        ({"train": [({"a": X}, Y)], "feature_columns": [object()]}, UnsupportedError, "only numeric columns"),
        (
            {"train": [({"a": X}, Y)], "feature_columns": [types.SimpleNamespace(key="z", shape=(1,))]},
            DataError,
            "no feature 'z'; it yields a",
        ),
    ],
)
def test_bad_streams_get_one_sentence(arguments, error, sentence):
    with pytest.raises(error, match=sentence):
        Stub(**arguments).prepare(OPTIONS)


def test_a_text_label_that_turns_up_late():
    train = batches(y=np.array(["u", "v", "w"])[Y])
    data = Stub(train).prepare(OPTIONS)
    train.append((X, TEXTS.astype("U1")))
    train.append((X, np.array(["late"] * 12)))
    with pytest.raises(DataError, match="yields the label 'late'; known are u, v, w"):
        take(data, 9)


def test_a_provider_without_anything():
    class Bare(Provider):
        def number_of_classes(self):
            return 2

    with pytest.raises(UnsupportedError, match="Bare has no get_input_fn; define it"):
        Bare().prepare(OPTIONS)


def test_the_readme_provider_works_as_written():
    import tensorflow as tf

    class MyProvider(model_search.data.Provider):
        def get_input_fn(self, hparams, mode, batch_size):
            del hparams

            def input_fn():
                dataset = tf.data.Dataset.from_tensor_slices(({"x": X[:, 0], "z": X[:, 1]}, Y))
                if mode == "train":
                    dataset = dataset.shuffle(12).repeat()
                return dataset.batch(batch_size)

            return input_fn

        def get_serving_input_fn(self, hparams):
            return None

        def number_of_classes(self):
            return 3

        def get_feature_columns(self):
            return [tf.feature_column.numeric_column("x"), tf.feature_column.numeric_column("z")]

    data = MyProvider().prepare(OPTIONS)
    np.testing.assert_array_equal(data.valid.inputs["features"], X)
    assert [len(rows) for rows in take(data, 5)] == [4] * 5

    class Text(MyProvider):
        def get_feature_columns(self):
            return [tf.feature_column.categorical_column_with_identity("x", 3)]

    with pytest.raises(UnsupportedError, match="IdentityCategoricalColumn; only numeric columns"):
        Text().prepare(OPTIONS)


@pytest.fixture
def empty_register(monkeypatch):
    monkeypatch.setattr(data_module, "_PROVIDERS", {})


@pytest.mark.usefixtures("empty_register")
def test_register_and_look_up():
    @register_provider("mine", init_args={"train": (X, Y)})
    class Mine(Stub):
        pass

    assert isinstance(lookup_provider("mine"), Mine)
    assert register_provider("mine", {"train": (X, Y)})(Mine) is Mine
    with pytest.raises(UserError, match="'mine' is registered already"):
        register_provider("mine")(Stub)
    with pytest.raises(UserError, match=r"no provider is registered as 'yours' \(registered: mine\)"):
        lookup_provider("yours")


PER_STEP = PrepareOptions(seed=1, batch_size=4, label_per_step=True)
STEPS = np.arange(12) % 3 + 1


def sequences(**more):
    features = {"signal": np.ones((12, 3, 2), np.float32), "signal_lengths": STEPS, **more}
    return features, np.arange(36).reshape(12, 3) % 3


def test_a_row_has_as_many_labels_as_its_longest_padded_sequence_has_steps():
    audio = {"audio": np.ones((12, 3, 2), np.float32)}  # comes first, and is not padded
    data = Stub(sequences(**audio)).prepare(PER_STEP)
    assert (data.valid.weight > 0).sum(axis=1).tolist() == STEPS.tolist()
    longer = np.minimum(STEPS + 1, 3)
    data = Stub(sequences(**audio, audio_lengths=longer)).prepare(PER_STEP)
    assert (data.valid.weight > 0).sum(axis=1).tolist() == longer.tolist()


def test_weights_of_steps_and_of_rows():
    features, labels = sequences()
    valid = np.arange(3) < STEPS[:, None]
    weights = np.arange(1, 13, dtype=np.float32)
    for given in (weights, weights[:, None], np.repeat(weights[:, None], 3, axis=1)[..., None]):
        data = Stub((features, labels, given)).prepare(PER_STEP)
        np.testing.assert_array_equal(data.valid.weight, weights[:, None] * valid)
        later = labelled_rows((features, labels, given), data.description)
        np.testing.assert_array_equal(later.weight, data.valid.weight)


@pytest.mark.parametrize(
    ("weights", "sentence"),
    [
        (np.ones((12, 2)), "there are weights for 2 steps, and rows of up to 3 steps"),
        (np.ones((1, 3)), "for each of the 12 rows"),
        (np.ones((12, 3, 2)), "for each of the 12 rows"),
        (-np.ones(12), "below 0"),
        (np.full(12, np.nan), "below 0, NaN"),
        (np.full(12, "a"), "expected a number"),
    ],
)
def test_weights_that_do_not_fit_are_refused(weights, sentence):
    data = Stub((*sequences(), np.ones(12))).prepare(PER_STEP)
    with pytest.raises(DataError, match=sentence):
        Stub((*sequences(), weights)).prepare(PER_STEP)
    with pytest.raises(DataError, match=sentence):
        labelled_rows((*sequences(), weights), data.description)


@pytest.mark.parametrize("mode", ["train", "eval"])
def test_weights_of_some_batches_are_refused(mode):
    weighted, plain = (X, Y, np.ones(12)), (X, Y)
    first, second = (plain, weighted) if mode == "train" else (weighted, plain)
    with pytest.raises(DataError, match=f"yields weights, but for '{mode}' not with every batch; .* yield ones"):
        Stub(first, second).prepare(OPTIONS)


def test_a_stream_of_empty_batches_ends_with_an_error():
    provider = Stub(batches())
    data = provider.prepare(OPTIONS)
    provider.train = [(X[:0], Y[:0])]
    with pytest.raises(DataError, match="yields no rows when it is opened again"):
        next(iter_rows for iter_rows in data.train_batches(1) if len(iter_rows))


@pytest.mark.parametrize("labels", [[1, "a", "b"], [True, "a", "b"], ["a", None, "b"], ["a", [1], 2]])
def test_labels_of_several_types_are_refused(labels):
    with pytest.raises(DataError, match=r"of several types|cannot be read as one array"):
        Stub([(X[:3], labels)]).prepare(OPTIONS)


def test_bytes_that_are_no_text_are_refused_and_not_merged():
    labels = np.array([b"\xff", b"\xfe", b"a"] * 4, dtype=object)
    with pytest.raises(DataError, match=r"label b'\\xff', which is not UTF-8"):
        Stub(batches(y=labels)).prepare(OPTIONS)


def test_what_float32_rounds_is_noted_with_its_rows():
    features = {"id": np.arange(12, dtype=np.int64) + 2**24, "x": X[:, 0].astype(np.float64)}
    data = Stub([(features, Y)], classes=3).prepare(OPTIONS)
    assert data.description["notes"] == [
        "feature 'id': 12 rows hold whole numbers beyond 2**24, or numbers below 1e-45, which float32 rounds"
    ]  # 6 odd ones in the training and in the evaluation batches each
    assert Stub(batches()).prepare(OPTIONS).description["notes"] == []
    said = []
    labelled_rows(({"id": [2**24 + 1, 3], "x": [1e-60, 1.0]}, [0, 1]), data.description, said.append)
    assert [note.partition(" hold")[0] for note in said] == ["feature 'id': 1 rows", "feature 'x': 1 rows"]


def test_targets_and_weights_that_float32_does_not_hold():
    data = Stub(batches(y=1e39 * X[:, 0].astype(np.float64)), classes=1).prepare(OPTIONS)
    assert any("beyond float32" in note for note in data.description["notes"])
    assert np.isfinite(data.valid.label).all() and data.valid.label.std() == pytest.approx(1, abs=1e-3)
    with pytest.raises(DataError, match="subtract a constant"):
        Stub(batches(y=1e16 + X[:, 0].astype(np.float64)), classes=1).prepare(OPTIONS)
    with pytest.raises(DataError, match="too small for float32"):
        Stub([(X, Y, np.full(12, 1e-60))]).prepare(OPTIONS)
    with pytest.raises(DataError, match="too far from those of training"):
        labelled_rows((X[:1], [1e300]), Stub(batches(y=X[:, 0] / 7), classes=1).prepare(OPTIONS).description)
