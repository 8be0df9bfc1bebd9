"""CSV files in UTF-8, for those who take no other encoding."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator

from model_search.data.tabular.csv_reading import CsvTable, Reading, open_csv, read_csv
from model_search.errors import DataError

# The advice of `tabular.csv_file` to give an encoding, at the end of its sentences.
_ADVICE = re.compile(r"; (?:save it as UTF-8|give|expected a text file)[^;]*encoding=[^;]*$")


def read_plain_csv(path: str | os.PathLike[str], reading: Reading | None = None) -> CsvTable:
    """As `read_csv`, of a file in UTF-8.

    Raises:
        DataError: as `read_csv`; it advises no argument for the encoding.
    """
    with _without_advice():
        return read_csv(path, reading)


def first_row(path: str | os.PathLike[str]) -> list[str]:
    """The cells of the first row, stripped, whether these are names or data.

    Raises:
        DataError: as `read_plain_csv`.
    """
    with _without_advice():
        return [column[0].strip() for column in next(open_csv(path, Reading(header=False)).blocks)]


@contextlib.contextmanager
def _without_advice() -> Iterator[None]:
    try:
        yield
    except DataError as error:
        said, count = _ADVICE.subn("; save it as UTF-8", str(error))
        if not count:
            raise
        raise DataError(said) from None
