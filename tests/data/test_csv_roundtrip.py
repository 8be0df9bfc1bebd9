"""Odd files come back cell by cell, and whatever they hold is learnt from or refused."""

import csv
import io
import tempfile
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from model_search.data import csv_data
from model_search.data.prepare_options import PrepareOptions
from model_search.data.tabular.csv_reading import Reading, read_csv
from model_search.errors import DataError

# Any text but zero bytes, carriage returns, byte order marks and lone surrogates.
characters = st.characters(exclude_characters="\0\r\ufeff", exclude_categories=("Cs",))
cells = st.one_of(
    st.text(characters, max_size=10), st.sampled_from(['"', '""', ",;\t|", "a\nb", "1,5", " ", "NA", "ß"])
)


@st.composite
def tables(draw):
    width = draw(st.integers(2, 5))
    names = draw(
        st.lists(
            st.text(characters, min_size=1, max_size=8), min_size=width, max_size=width, unique_by=str.strip
        ).filter(lambda names: all(name.strip() for name in names))
    )
    rows = draw(st.lists(st.lists(cells, min_size=width, max_size=width), min_size=1, max_size=8))
    return names, rows


@given(tables(), st.sampled_from([",", ";", "\t", "|"]), st.booleans(), st.booleans())
@settings(max_examples=150, deadline=None)
def test_round_trip(table, delimiter, quote_all, crlf):
    names, rows = table
    text = io.StringIO(newline="")
    writer = csv.writer(
        text,
        delimiter=delimiter,
        lineterminator="\r\n" if crlf else "\n",
        quoting=csv.QUOTE_ALL if quote_all else csv.QUOTE_MINIMAL,
    )
    writer.writerows([names, *rows])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "t.csv"
        path.write_bytes(text.getvalue().encode("utf-8"))
        found = read_csv(path, Reading(delimiter, True, decimal="."))
    assert list(found.frame.columns) == [name.strip() for name in names]
    assert found.frame.to_numpy().tolist() == rows


@given(
    st.lists(st.tuples(st.integers(), cells, st.floats(-1e6, 1e6)), min_size=12, max_size=20), st.sampled_from(",;\t|")
)
@settings(max_examples=100, deadline=None)
def test_the_delimiter_is_found_where_rows_agree(rows, delimiter):
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=delimiter, quoting=csv.QUOTE_NONNUMERIC).writerows([("id", "text", "x"), *rows])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "t.csv"
        path.write_bytes(text.getvalue().encode("utf-8"))
        found = read_csv(path)
    assert list(found.frame.columns) == ["id", "text", "x"]
    assert found.frame["text"].tolist() == [text for _, text, _ in rows]


values = st.sampled_from(
    ["", "NA", "1", "2", "3.5", "-7e2", "1,234", "2020-01-02", "31/1/2020", "u", "v", "True", "7 words"]
)


@given(
    st.integers(1, 4).flatmap(
        lambda width: st.lists(st.lists(values, min_size=width, max_size=width), min_size=12, max_size=60)
    )
)
@settings(max_examples=100, deadline=None)
def test_any_table_gives_finite_features_or_one_sentence(rows):
    width = len(rows[0])
    text = io.StringIO(newline="")
    csv.writer(text).writerows(
        [[*(f"f{i}" for i in range(width)), "y"], *([*row, "ab"[i % 2]] for i, row in enumerate(rows))]
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "t.csv"
        path.write_bytes(text.getvalue().encode("utf-8"))
        try:
            data = csv_data.Provider(filename=path, label="y").prepare(PrepareOptions(seed=0, batch_size=4))
        except DataError as error:
            assert "no column can be learnt from" in str(error)
            return
    for part in (data.train, data.valid):
        assert np.isfinite(part.inputs["features"]).all()
        assert part.inputs["features"].shape == (len(part), data.preprocessor.schema.width)
    assert len(data.train) + len(data.valid) == len(rows)
    assert {*data.preprocessor.schema.columns, *data.preprocessor.schema.dropped} == {f"f{i}" for i in range(width)}
