"""Odd CSV files: read as they are meant, or refused in one sentence."""

import codecs
import gzip
import operator

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from model_search.data.array_data import Provider as ArrayProvider
from model_search.data.csv_data import Provider
from model_search.data.later_rows import inputs_of, labelled_rows
from model_search.data.prepare_options import PrepareOptions
from model_search.errors import DataError, UserError

OPTIONS = PrepareOptions(seed=1, batch_size=4)
ROWS = [f"{i % 7},{'rot' if i % 3 else 'grün'},{'yes' if i % 7 > 3 else 'no'}" for i in range(60)]
TEXT = "\n".join(["a,b,label", *ROWS]) + "\n"


def doubled(text):
    return text.replace("a,b,label", "a,a,label").encode()


READ = {
    "plain": TEXT.encode(),
    "a byte order mark": codecs.BOM_UTF8 + TEXT.encode(),
    "lines that end with CR LF": TEXT.replace("\n", "\r\n").encode(),
    "lines that end with CR": TEXT.replace("\n", "\r").encode(),
    "lines that end in three ways": TEXT.replace("\n", "\r\n", 20).replace("no\n", "no\r", 9).encode(),
    "no end of the last line": TEXT.rstrip("\n").encode(),
    "blank lines": TEXT.replace("\n", "\n\n").encode(),
    "blanks around cells": TEXT.replace(",", " , ").encode(),
    "every cell in quotes": "\n".join('"' + line.replace(",", '","') + '"' for line in TEXT.split("\n")[:-1]).encode(),
    "a cell over several lines": TEXT.replace("grün", '"grün\nund\r\nmehr"').encode(),
    "a cell of 200,000 characters": TEXT.replace("grün", "grün" + "x" * 200_000, 1).encode(),
    "compressed": gzip.compress(TEXT.encode()),
    "a thousand columns of text": "\n".join(
        ",".join(
            [*(f"c{i}" if row < 0 else f"t{(row * i) % 5}" for i in range(1000)), "label" if row < 0 else "yn"[row % 2]]
        )
        for row in range(-1, 60)
    ).encode(),
}
REFUSED = {
    "nothing": (b"", "is empty"),
    "blanks": (b" \n\t\n \n", "is empty"),
    "only a header": (b"a,b,label\n", "only a header"),
    "one row": (b"a,b,label\n1,x,yes\n", "same label|rows with a label"),
    "one class": (TEXT.replace("yes", "no").encode(), "every row has the same label"),
    "no label in any row": (TEXT.replace("yes", "").replace("no", "").encode(), "every row lacks its label"),
    "the label's column is not there": (TEXT.replace("label", "lable").encode(), "did you mean 'lable'"),
    "two columns of one name": (doubled(TEXT), "several columns named 'a'"),
    "rows that are longer": (TEXT.replace("\n2,", "\n2,2,", 1).encode(), "line 4 has 4 fields; expected 3"),
    "rows that are shorter": (TEXT.replace("\n2,", "\n", 1).encode(), "line 4 has 2 fields; expected 3"),
    "a quote that is not closed": (TEXT.replace("grün", '"grün', 1).encode(), "line 2: unexpected end of data"),
    "something after a quote": (TEXT.replace("grün", '"grün"x', 1).encode(), "line 2: ',' expected after"),
    "latin-1": (TEXT.encode("latin-1"), "is not utf-8: byte 0xfc in line 2"),
    "UTF-16": (TEXT.encode("utf-16"), "is UTF-16, not UTF-8"),
    "UTF-16 without a mark": (TEXT.encode("utf-16-le"), "zero bytes|is not utf-8"),
    "UTF-32": (TEXT.encode("utf-32"), "is UTF-"),
    "zero bytes": (TEXT.replace("rot", "r\0t").encode(), "zero bytes"),
    "binary": (bytes(range(256)) * 9, "zero bytes|is not utf-8"),
    "compressed, cut off": (gzip.compress(TEXT.encode())[:-9], "compressed by gzip, but damaged"),
    "compressed, changed": (gzip.compress(TEXT.encode())[:40] + b"x" * 40, "compressed by gzip, but damaged"),
    "another delimiter": (TEXT.replace(",", ":").encode(), "no label column"),
}


def prepared(path, **how):
    return Provider(filename=path, label="label", **how).prepare(OPTIONS)


def test_odd_files(figure, tmp_path):
    for kind, content in READ.items():
        (tmp_path / "odd.csv").write_bytes(content)
        data = prepared(tmp_path / "odd.csv")
        assert len(data.train) + len(data.valid) == 60, kind
        read = inputs_of(tmp_path / "odd.csv", data.description)["features"]
        assert np.isfinite(read).all(), kind
        assert len(labelled_rows(tmp_path / "odd.csv", data.description)) == 60
    for kind, (content, words) in REFUSED.items():
        (tmp_path / "odd.csv").write_bytes(content)
        with pytest.raises(DataError, match=words) as caught:
            prepared(tmp_path / "odd.csv")
        assert "\n" not in str(caught.value), kind
        assert str(tmp_path / "odd.csv") in str(caught.value) or "label" in str(caught.value)
    for encoding, content in (("latin-1", TEXT.encode("latin-1")), ("utf-16", TEXT.encode("utf-16"))):
        (tmp_path / "odd.csv").write_bytes(content)
        assert len(prepared(tmp_path / "odd.csv", encoding=encoding).train) == 48
    figure(
        f"odd files, {len(READ) + len(REFUSED) + 2} kinds",
        f"{len(READ) + 2} read whole, {len(REFUSED)} refused in one sentence each",
    )


PIECES = st.sampled_from(
    [b"a,b,label\n", b"1,x,yes\n2,y,no\n" * 12, b"3,z,yes\n", b'"', b'""', b",", b";", b"\t", b"\n", b"\r", b"\r\n",
     b"\0", b"\xff", b"\xff\xfe", codecs.BOM_UTF8, b"\x1f\x8b", "é".encode(), b"1e999", b"nan", b"label", b" ",
     b"0001-01-01,", b"9999-12-31,", b"-1,", b"1,234", b"1.234,5;", b"x" * 140_000]
)  # fmt: skip


RANDOM = st.lists(st.one_of(PIECES, PIECES, st.binary(max_size=6)), max_size=8).map(b"".join)
WHOLE = b"a,b,label\n" + b"1,x,yes\n2,y,no\n" * 12


def test_files_at_random(count, figure, tmp_path):
    found = {"read": 0, "refused": 0}

    @settings(max_examples=count(3000, 150), deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.builds(operator.add, st.sampled_from([WHOLE, WHOLE, b""]), RANDOM))
    @example(b"\xff\xfe\0\0")
    @example(b"a,label\n" + b"1,yes\n2,no\n" * 12 + b'"')
    def is_read_or_refused(content):
        (tmp_path / "random.csv").write_bytes(content)
        try:
            data = prepared(tmp_path / "random.csv")
            inputs_of(tmp_path / "random.csv", data.description)
            found["read"] += 1
        except DataError as error:
            assert str(error)
            found["refused"] += 1

    is_read_or_refused()
    figure(
        f"CSV files of random pieces, {sum(found.values())} tried",
        f"{found['read']} read, {found['refused']} refused in a sentence",
    )


@pytest.mark.parametrize("encoding", ["nosuch", "idna", "undefined", "rot13", "base64", "", 5, None, "utf-8\0"])
def test_encodings_that_are_none(encoding):
    with pytest.raises(DataError, match="there is no encoding"):
        Provider(filename="x.csv", label="y", encoding=encoding)


@pytest.mark.parametrize(
    "arguments",
    [
        {"filename": 5}, {"filename": b"x.csv"}, {"filename": "a\0b"}, {"filename": ["x.csv"]}, {"label": 3},
        {"label": ["y", 3]}, {"label": []}, {"label": ["y", "y"]},
        {"weight": 1}, {"label_index": "1"}, {"label_index": 1.5}, {"logits_dimension": "2"},
        {"logits_dimension": True}, {"record_defaults": 5}, {"record_defaults": "1,2"}, {"field_delim": 5},
        {"field_delim": ""}, {"field_delim": '"'}, {"header": "yes"}, {"header": 2}, {"header": []}, {"task": 5},
        {"decimal": 5}, {"validation_filename": 5},
    ],
)  # fmt: skip
def test_arguments_of_a_wrong_type(arguments):
    with pytest.raises(DataError, match=r"expected|another meaning"):
        Provider(**{"filename": "x.csv", "label": "y"} | arguments)


def test_a_file_that_is_removed_between_two_reads(tmp_path):
    (tmp_path / "x.csv").write_text(TEXT)
    provider = Provider(filename=tmp_path / "x.csv", label="label")
    assert provider.number_of_classes() == 2
    (tmp_path / "x.csv").unlink()
    with pytest.raises(DataError, match="no such file"):
        provider.prepare(OPTIONS)


@pytest.mark.parametrize("cell", [[1, 2], {1: 2}, {1}, np.array([1, 2]), bytearray(b"x"), (1, [2])])
@pytest.mark.parametrize("where", ["x", "y"])
def test_a_list_in_a_cell_is_named_by_its_row(cell, where):
    columns = {"x": np.array([1.5, "a"] * 20, dtype=object), "y": np.array(["a", "b"] * 20, dtype=object)}
    columns[where][7] = cell
    with pytest.raises(DataError, match=f"holds a {type(cell).__name__} in row 8"):
        ArrayProvider(pd.DataFrame({"c": columns["x"]}), columns["y"])


@pytest.mark.parametrize("unit", ["s", "ms", "us"])
@pytest.mark.parametrize("years", [("0001-01-01", "9999-12-31"), ("-2000-01-01", "20000-01-01")])
def test_dates_of_all_years(unit, years):
    dates = np.array([years[i % 2] for i in range(40)], dtype=f"datetime64[{unit}]")
    dates[3] = np.datetime64("NaT")
    frame = pd.DataFrame({"d": dates, "n": np.arange(40) % 7})
    data = ArrayProvider(frame, [0, 1] * 20).prepare(OPTIONS)
    days = inputs_of(frame, data.description)["features"][:, 0]
    assert len(set(days[0::2].tolist())) == len(set(days[[1, *range(5, 40, 2)]].tolist())) == 1
    assert days[0] < days[1]
    assert np.isfinite(days).all()


ANYTHING = {
    "nothing": None, "a number": 5, "a text": "abc", "ragged": [[1, 2], [3]], "a list": [1, 2, 3], "a set": {1, 2},
    "a generator": (i for i in range(3)), "a class": int,
    "three axes": np.zeros((3, 2, 2)), "an object": object(), "a frame": pd.DataFrame(),
    "no rows": pd.DataFrame({"a": []}), "an empty dict": {}, "a dict of a scalar": {"a": 1},
    "a dict of None": {"a": None},
    "a dict of two axes": {"a": np.zeros((20, 2))}, "complex": np.zeros((20, 2), complex),
    "bytes": np.full((20, 2), b"a"),
    "records": np.zeros(20, dtype=[("a", int)]), "one name twice": pd.DataFrame(np.zeros((20, 2)), columns=["a", "a"]),
    "an axis-less array": np.array(3), "infinite": np.full((20, 2), np.inf),
}  # fmt: skip


def test_arguments_of_the_array_provider(figure):
    x, y, tried = np.arange(40).reshape(20, 2) % 7, [0, 1] * 10, 0
    for what, value in ANYTHING.items():
        for arguments in (
            (value, y, {}),
            (x, value, {}),
            (x, y, {"weights": value}),
            (x, y, {"validation": value}),
            (x, y, {"validation": (value, y)}),
            (x, y, {"feature_names": value}),
            (x, y, {"task": value}),
        ):
            tried += 1
            try:
                ArrayProvider(arguments[0], arguments[1], **arguments[2]).prepare(OPTIONS)
            except UserError:
                continue
            except Exception as error:
                raise AssertionError(f"{what} in {arguments[2] or 'x or y'}") from error
    figure(f"arrays and arguments of a wrong kind, {tried} tried", "refused in a sentence each, or read")
