"""Rows with cells of any length: the same as the reader of the standard library gives where its limit is raised."""

import csv
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_search.data.csv_data import Provider
from model_search.data.prepare_options import PrepareOptions
from model_search.data.tabular.csv_reading import read_csv
from model_search.data.tabular.csv_rows import RowError, csv_rows
from model_search.errors import DataError

LONG = 200_000


def lines_of(text):
    return io.StringIO(text, newline="")


def by_the_library(text, delimiter):
    """Rows with the numbers of their first lines, and the error that ends them."""
    reader, found, first = csv.reader(lines_of(text), delimiter=delimiter, strict=True), [], 1
    try:
        for row in reader:
            found.append((first, row))
            first = reader.line_num + 1
    except csv.Error as error:
        return found, str(error), first
    return found, None, None


def by_us(text, delimiter, limit):
    before, found = csv.field_size_limit(limit), []
    try:
        for numbered in csv_rows(lines_of(text), delimiter):
            found.append(numbered)  # noqa: PERF402 - the rows before an error count
    except RowError as error:
        return found, str(error), error.line
    finally:
        csv.field_size_limit(before)
    return found, None, None


@settings(deadline=None, max_examples=600)
@given(st.text('ab" ,;|\t\r\n', max_size=30), st.sampled_from(",;|\t"), st.sampled_from([1, 2, 4]))
def test_a_lower_limit_changes_nothing(text, delimiter, limit):
    assert by_us(text, delimiter, limit) == by_the_library(text, delimiter)


@pytest.mark.parametrize(
    "cell",
    ["x" * LONG, '"' + "x" * LONG + '"', '"' + 'a ""b"", c\n' * (LONG // 10) + '"'],
    ids=["plain", "quoted", "with lines, quotes and commas"],
)
@pytest.mark.parametrize("where", ["first", "last", "header"])
def test_files_with_long_cells(tmp_path, cell, where):
    rows = [f"{number % 7},{number},{'yes' if number % 7 > 3 else 'no'}" for number in range(40)]
    if where != "header":
        rows[{"first": 0, "last": -1}[where]] = f"{cell},1,yes"
    header = f"text,{cell if where == 'header' else 'number'},label"
    (tmp_path / "long.csv").write_text("\n".join([header, *rows]) + "\n")
    limit = csv.field_size_limit()
    frame = read_csv(tmp_path / "long.csv", label="label").frame
    assert csv.field_size_limit() == limit
    assert frame.shape == (40, 3)
    unquoted = cell if not cell.startswith('"') else cell[1:-1].replace('""', '"')
    if where == "header":
        assert frame.columns[1] == unquoted.strip()
    else:
        assert list(frame["text"])[{"first": 0, "last": -1}[where]] == unquoted
    data = Provider(filename=tmp_path / "long.csv", label="label").prepare(PrepareOptions(seed=1, batch_size=4))
    assert data.task.classes == ("no", "yes")


def test_a_long_cell_that_is_not_closed_is_named_by_its_line(tmp_path):
    (tmp_path / "long.csv").write_text('a,b\n1,2\n"' + "x\n" * LONG)
    with pytest.raises(DataError, match="line 3: unexpected end of data"):
        read_csv(tmp_path / "long.csv")
