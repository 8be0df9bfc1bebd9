"""Names of inputs: the user's own where they can be, always different, always accepted."""

import keyword
import re

from hypothesis import given
from hypothesis import strategies as st

from model_search.finish.input_names import keras_names, signature_names

columns = st.lists(
    st.one_of(
        st.text(max_size=5),
        st.sampled_from(["", "a/b", "a\0b", "a_b", "A_B", "a b", "class", "self", "Self", "1", "_"]),
    ),
    unique=True,
    max_size=8,
)


@given(columns)
def test_names_are_different_and_accepted(names):
    own = keras_names(names)
    assert len(set(own)) == len(names) == len(own)
    assert all(name and "/" not in name and "\0" not in name for name in own)
    served = signature_names(names)
    assert len({name.lower() for name in served}) == len(names) == len(served)
    for name in served:
        assert re.fullmatch("[A-Za-z][A-Za-z0-9_]*", name)
        assert not keyword.iskeyword(name)
        assert name.lower() != "self"


@given(columns)
def test_a_name_that_is_accepted_stays(names):
    for name, own in zip(names, keras_names(names), strict=True):
        assert own == name or "/" in name or "\0" in name or not name


def test_what_gives_way():
    assert keras_names(["a/b", "a_b", "", "column", "hours per week"]) == (
        "a_b_2",
        "a_b",
        "column_2",
        "column",
        "hours per week",
    )
    assert keras_names(["a\0", "a/", "a_"]) == ("a__2", "a__3", "a_")
    assert signature_names(["hours per week", "a", "A", "class", "1st", "列"]) == (
        "hours_per_week",
        "a",
        "A_2",
        "class_",
        "column_1st",
        "column",
    )
