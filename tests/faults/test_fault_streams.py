"""Input functions that are empty, endless or raise while data are prepared, or while a trial trains."""

import itertools
import pathlib
import subprocess
import sys
import threading

import numpy as np
import pytest

from model_search.data.prepare_options import PrepareOptions
from model_search.data.provider import Provider
from model_search.data.stream import input_functions
from model_search.errors import DataError, ProviderError, RetryTrialError, TrialError
from model_search.trainers.opening.data_preparation import prepared

OPTIONS = PrepareOptions(seed=1, batch_size=4)
X = np.arange(24, dtype=np.float32).reshape(12, 2)
Y = np.arange(12) % 3
NOTHING = (X[:0], Y[:0])


class FromFunctions(Provider):
    """One `input_fn` for each mode; each call of `get_input_fn` takes the next one, and the last one stays."""

    def __init__(self, train=None, evaluation=None):
        whole = [batches]
        self._functions = {"train": train or whole, "eval": evaluation or whole}
        self._opened = {"train": 0, "eval": 0}

    def get_input_fn(self, hparams, mode, batch_size):
        functions = self._functions[mode]
        found = functions[min(self._opened[mode], len(functions) - 1)]
        self._opened[mode] += 1
        return found

    def number_of_classes(self):
        return 3


def batches():
    return [(X[i : i + 4], Y[i : i + 4]) for i in range(0, 12, 4)]


def raises(after=0):
    def input_fn():
        yield from batches()[:after]
        raise ValueError("the server is away")

    return input_fn


def raises_at_once():
    raise OSError(5, "the share is gone")


def dataset(make):
    """An input_fn that builds a tf.data.Dataset; TensorFlow is imported when it is called."""

    def input_fn():
        import tensorflow as tf

        return make(tf.data.Dataset.from_tensor_slices((X, Y)), tf)

    return input_fn


def from_generator(generator):
    def make(_, tf):
        signature = (tf.TensorSpec((None, 2), tf.float32), tf.TensorSpec((None,), tf.int64))
        return tf.data.Dataset.from_generator(generator, output_signature=signature)

    return dataset(make)


KINDS = {
    "a list without batches": (lambda: [], "yields no batch"),
    "a pair of zero rows": (lambda: NOTHING, "yields no batch"),
    "some batches of zero rows": (lambda: [NOTHING] * 3, "yields no batch"),
    "zero rows for ever": (lambda: itertools.repeat(NOTHING), r"zero rows \(1000 in a row\)"),
    "rows, then zero rows for ever": (
        lambda: itertools.chain(batches(), itertools.repeat(NOTHING)),
        r"zero rows \(1000 in a row\)",
    ),
    "raises at once": (raises_at_once, "raised OSError: .*the share is gone"),
    "raises at the first batch": (raises(), "raised ValueError: the server is away$"),
    "raises after a batch": (raises(1), "raised ValueError: the server is away, after 1 batch$"),
    "raises after three": (raises(3), "raised ValueError: the server is away, after 3 batches$"),
    "dataset, empty": (dataset(lambda data, tf: data.take(0).batch(4)), "yields no batch"),
    "dataset, empty, repeated": (dataset(lambda data, tf: data.take(0).batch(4).repeat()), "yields no batch"),
    "dataset, empty, shuffled, repeated": (
        dataset(lambda data, tf: data.take(0).shuffle(9).repeat().batch(4)),
        "yields no batch",
    ),
    "dataset, empty, cached, repeated, prefetched": (
        dataset(lambda data, tf: data.take(0).cache().repeat().batch(4).prefetch(2)),
        "yields no batch",
    ),
    "dataset, zero rows for ever": (
        dataset(lambda data, tf: data.batch(4).map(lambda x, y: (x[:0], y[:0])).repeat()),
        r"zero rows \(1000 in a row\)",
    ),
    "dataset, map raises": (
        dataset(lambda data, tf: data.map(lambda x, y: (tf.debugging.check_numerics(x / 0, "bad"), y)).batch(4)),
        "raised InvalidArgumentError: .*bad : Tensor had (Inf|NaN)",
    ),
    "dataset, generator raises": (
        from_generator(raises(1)),
        "raised ValueError: the server is away, after 1 batch$",
    ),
}


ENDLESS = """
import sys
import tensorflow as tf
sys.path.insert(0, {here!r})
import test_fault_streams as tests
from model_search.data.stream import input_functions
input_functions.FIRST_NOTE, input_functions.LONGEST_WAIT = 0.25, 0.5
ways = [
    lambda data, tf: data.repeat().filter(lambda x, y: y > 9).batch(4),
    lambda data, tf: data.repeat().flat_map(lambda x, y: data.take(0)).batch(4),
]
for make in ways:
    try:
        tests.prepared(tests.FromFunctions(train=[tests.dataset(make)]), tests.OPTIONS)
    except tests.DataError as error:
        print(error)
"""


def check_one_sentence(error, mode):
    assert isinstance(error.value, DataError)
    assert repr(mode) in str(error.value)
    assert "Traceback" not in str(error.value)
    assert "\n" not in str(error.value)


def test_while_data_are_prepared(figure):
    """The last kinds never return from TensorFlow: they run in a process that ends all the same."""
    child = subprocess.Popen(
        [sys.executable, "-c", ENDLESS.format(here=str(pathlib.Path(__file__).parent))],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    for mode, (input_fn, words) in itertools.product(("train", "eval"), KINDS.values()):
        provider = FromFunctions(**{"train" if mode == "train" else "evaluation": [input_fn]})
        with pytest.raises(DataError, match=words) as caught:
            prepared(provider, OPTIONS)
        check_one_sentence(caught, mode)
    said, errors = child.communicate()
    assert child.returncode == 0, errors
    endless = said.splitlines()
    assert len(endless) == 2
    assert all("dataset for 'train' has yielded nothing for 0.5 seconds" in line for line in endless)
    figure(
        f"input functions that are empty, endless or raise, {len(KINDS) + len(endless)} kinds",
        f"one DataError each that names what happened ({2 * len(KINDS) + len(endless)} tried), 0 hang",
    )


def test_in_a_later_pass_over_the_evaluation_data():
    """A study is continued, or another worker begins: the evaluation data are read again."""
    provider = FromFunctions(evaluation=[batches, raises(1)])
    prepared(provider, OPTIONS)
    with pytest.raises(ProviderError, match=r"'eval' raised ValueError: the server is away, after 1 batch$"):
        prepared(provider, OPTIONS)


def test_while_a_trial_trains_what_is_raised_ends_this_trial():
    data = prepared(FromFunctions(train=[batches, raises(2)]), OPTIONS)
    rows = data.train_batches(1)
    assert [len(next(rows)) for _ in range(2)] == [4, 4]
    with pytest.raises(TrialError, match=r"'train' raised ValueError: the server is away, after 2 batches$") as caught:
        next(rows)
    assert isinstance(caught.value.__cause__, ValueError)


def test_while_a_trial_trains_endless_zero_rows_are_noticed():
    data = prepared(FromFunctions(train=[batches, lambda: itertools.repeat(NOTHING)]), OPTIONS)
    with pytest.raises(DataError, match="zero rows"):
        next(data.train_batches(1))


def test_errors_of_this_package_and_interrupts_pass_unchanged():
    for error in (RetryTrialError("the store is away"), KeyboardInterrupt(), MemoryError()):

        def input_fn(error=error):
            yield from batches()
            raise error

        rows = prepared(FromFunctions(train=[batches, input_fn]), OPTIONS).train_batches(1)
        with pytest.raises(type(error)) as caught:
            list(rows)
        assert caught.value is error


def test_a_few_batches_of_zero_rows_do_no_harm():
    some = [NOTHING, *batches(), NOTHING, NOTHING]
    data = prepared(FromFunctions(train=[lambda: some] * 2, evaluation=[lambda: some]), OPTIONS)
    np.testing.assert_array_equal(data.valid.inputs["features"], X)
    assert [len(rows) for rows in itertools.islice(data.train_batches(1), 7)] == [4] * 7


def test_a_dataset_that_waits_is_given_up_only_after_the_limit(monkeypatch, caplog):
    """The limit is that of one batch; what waits is announced before."""
    go_on = threading.Event()

    def waits():
        yield from batches()
        go_on.wait()

    monkeypatch.setattr(input_functions, "FIRST_NOTE", 0.0)
    data = elements_of(from_generator(waits))
    try:
        assert len(next(data)[1]) == 4
        monkeypatch.setattr(input_functions, "LONGEST_WAIT", 0.0)
        with pytest.raises(DataError, match="has yielded nothing for 0 seconds"):
            list(data)
        assert "has yielded nothing for 0 seconds; it is given up" in caplog.text
    finally:
        go_on.set()


def elements_of(input_fn):
    return input_functions.elements(input_fn(), "train")


def test_the_threads_of_datasets_end():
    before = set(threading.enumerate())
    data = elements_of(dataset(lambda data, tf: data.batch(4)))
    next(data)
    (thread,) = set(threading.enumerate()) - before
    data.close()
    thread.join(60)
    assert not thread.is_alive()


def test_prepare_of_a_provider_that_raises():
    class Broken(FromFunctions):
        def prepare(self, options):
            return {}["rows"]

    with pytest.raises(ProviderError, match=r"^Broken.prepare raised KeyError: 'rows'$") as caught:
        prepared(Broken(), OPTIONS)
    assert isinstance(caught.value.__cause__, KeyError)
