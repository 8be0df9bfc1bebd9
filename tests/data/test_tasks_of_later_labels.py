"""Labels to evaluate on that are given by the names of tasks: a misspelt name is refused."""

import numpy as np
import pandas as pd
import pytest

from model_search.data import array_data, image_data, sequence_data, text_data
from model_search.data.later_rows import labelled_rows
from model_search.data.prepare_options import PrepareOptions
from model_search.errors import DataError

ROWS = 20
OPTIONS = PrepareOptions(seed=1, batch_size=8, embedding="EMBEDDING")
KINDS = np.array(["a", "b"])[np.arange(ROWS) % 2]
NUMBERS = np.arange(ROWS) / 10
TABLE = np.random.default_rng(0).normal(size=(ROWS, 2))
PICTURES = np.zeros((ROWS, 3, 3, 3), np.uint8)
SEQUENCES = np.zeros((ROWS, 4, 1))
TEXTS = ["word again word"] * ROWS
CASES = [
    (lambda y: array_data.Provider(TABLE, y), TABLE),
    (lambda y: array_data.Provider({"table": TABLE, "picture": PICTURES}, y), {"table": TABLE, "picture": PICTURES}),
    (lambda y: image_data.Provider(x=PICTURES, y=y), PICTURES),
    (lambda y: sequence_data.Provider(SEQUENCES, y), SEQUENCES),
    (lambda y: text_data.Provider(TEXTS, y), TEXTS),
]


def described(provider):
    data = provider.prepare(OPTIONS)
    return {"inputs": {name: spec.to_json() for name, spec in data.input_specs.items()}, **data.description}


@pytest.mark.parametrize(("make", "x"), CASES)
def test_names_of_labels_are_those_of_tasks(make, x):
    about = described(make({"kind": KINDS, "grade": NUMBERS}))
    for labels in ({"kind": KINDS, "grad": NUMBERS}, pd.DataFrame({"grad": NUMBERS, "kind": KINDS}), {"grad": KINDS}):
        with pytest.raises(DataError, match="the labels name 'grad'; the tasks are kind, grade; expected their names"):
            labelled_rows((x, labels), about)
    with pytest.raises(DataError, match="there is no label 'kind' for the primary task; the data have 'grade'"):
        labelled_rows((x, {"grade": NUMBERS}), about)
    for labels in (KINDS, {"kind": KINDS}, pd.Series(KINDS, name="other"), pd.DataFrame({"other": KINDS})):
        assert list(labelled_rows((x, labels), about).labels) == ["kind"]
    both = labelled_rows((x, pd.DataFrame({"grade": NUMBERS, "kind": KINDS})), about)
    assert sorted(both.labels) == ["grade", "kind"]


@pytest.mark.parametrize(("make", "x"), CASES)
def test_the_labels_of_the_only_task_need_no_name(make, x):
    about = described(make(KINDS))
    for labels in (KINDS, {"any": KINDS}, pd.DataFrame({"any": KINDS}), pd.Series(KINDS, name="any")):
        assert len(labelled_rows((x, labels), about)) == ROWS
    with pytest.raises(DataError, match="the labels name 'any'; the tasks are label"):
        labelled_rows((x, {"any": NUMBERS, "label": KINDS}), about)
