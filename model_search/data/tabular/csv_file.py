"""Reads text files line by line: compressed or not, in any encoding, with one sentence about what is wrong."""

from __future__ import annotations

import codecs
import dataclasses
import gzip
import io
import pathlib
import zlib
from collections.abc import Iterator, Mapping
from typing import IO, Any

from model_search.data.checked_json import need
from model_search.errors import DataError

_CHUNK = 2**18  # bytes
_GZIP = b"\x1f\x8b"
_NO_TEXT = {  # by their first bytes
    b"PK\x03\x04": "an Excel file (.xlsx), or a zip archive",
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": "an Excel file (.xls)",
    b"\xfd7zXZ\0": "compressed by xz",
    **{b"BZh%d1AY&SY" % level: "compressed by bzip2" for level in range(1, 10)},
}
_NAMES_OF_UTF_8 = ("utf-8", "utf8", "utf-8-sig")


@dataclasses.dataclass(frozen=True)
class Encoding:
    """The encoding of a text file.

    Attributes:
        name: As Python knows it.
        of_study: Whether a study reads all files so: nobody can choose another one then, and no error advises it.

    Raises:
        DataError: if there is no such encoding.
    """

    name: str = "utf-8"
    of_study: bool = False

    def __post_init__(self) -> None:
        if not _is_encoding(self.name):
            raise DataError(
                f"there is no encoding {self.name!r}; common ones are 'utf-8', 'utf-16', 'cp1252', 'latin-1'"
            )

    @classmethod
    def given(cls, name: str, has_file: bool) -> Encoding:
        """The one that a user gives to a provider.

        Raises:
            DataError: if there is no such encoding, or no CSV file that it is for.
        """
        found = cls(name)
        if not found.is_utf_8 and not has_file:
            raise DataError(f"encoding is {name!r}, which is for a CSV file; give one, or leave encoding out")
        return found

    @classmethod
    def stored(cls, reading: Any) -> Encoding:
        """That of a study, from what its description says of how it reads files."""
        values = reading if isinstance(reading, Mapping) else {}
        return cls(need(values.get("encoding", "utf-8"), str, "the encoding of files"), of_study=True)

    def to_json(self) -> dict[str, str]:
        """What `stored` reads; UTF-8 is left out, as before."""
        return {} if self.is_utf_8 else {"encoding": self.name}

    @property
    def is_utf_8(self) -> bool:
        """Whether it is UTF-8, with or without a byte order mark."""
        return self.name.lower() in _NAMES_OF_UTF_8

    def advice(self, other: str) -> str:
        """What to do with a file that is not in it, and may be in another one."""
        if self.of_study:
            return f"save it as {'UTF-8' if self.is_utf_8 else self.name}, which this study reads"
        return f"save it as UTF-8, or give its encoding, such as encoding={other!r}"


def _is_encoding(name: Any) -> bool:
    text = "a,b\n" * 40  # some take short texts only
    try:
        return text.encode(name).decode(name) == text
    except (LookupError, UnicodeError, TypeError, ValueError):
        return False


UTF_8 = Encoding()


def lines_of(path: pathlib.Path, encoding: Encoding) -> Iterator[str]:
    """The lines of a file, each with its end; it is read as they are asked for.

    Args:
        path: The file; it may be compressed by gzip, or be a pipe.
        encoding: Of the text; a byte order mark is left out.

    Raises:
        DataError: if there is no such file, or it cannot be read or decoded.
    """
    pending: list[str] = []
    for text in _texts(path, encoding):
        if "\n" not in text and "\r" not in text:
            pending.append(text)
            continue
        lines = list(io.StringIO("".join([*pending, text]), newline=""))
        pending = [] if lines[-1].endswith("\n") else [lines.pop()]  # "\n" may follow "\r"
        yield from lines
    if last := "".join(pending):
        yield last


def _texts(path: pathlib.Path, encoding: Encoding) -> Iterator[str]:
    """The decoded file, a part at a time."""
    decoder = codecs.getincrementaldecoder("utf-8-sig" if encoding.is_utf_8 else encoding.name)()
    bytes_before = lines_before = 0
    for content in _contents(path):
        if not bytes_before:
            _check_text(path, content)
        has_mark = not bytes_before and content[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
        if has_mark and encoding.is_utf_8:
            raise DataError(f"{path} is UTF-16, not UTF-8; {encoding.advice('utf-16')}")
        try:
            text = decoder.decode(content, final=not content)
        except UnicodeDecodeError as error:
            line = lines_before + error.object[: error.start].count(b"\n") + 1
            place = bytes_before - (len(error.object) - len(content)) + error.start
            raise DataError(
                f"{path} is not {encoding.name}: byte 0x{error.object[error.start]:02x} in line {line} (at byte "
                f"{place}); {encoding.advice('cp1252' if encoding.is_utf_8 else 'utf-8')}"
            ) from None
        except UnicodeError as error:  # UTF-16 and UTF-32 without the mark that says which
            raise DataError(f"{path} is not {encoding.name}: {error}; {encoding.advice('utf-8')}") from None
        if "\0" in text:
            raise DataError(f"{path} holds zero bytes; expected a text file: if it is one, {encoding.advice('utf-16')}")
        yield text if bytes_before else text.removeprefix("\ufeff")
        bytes_before += len(content)
        lines_before += content.count(b"\n")


def _check_text(path: pathlib.Path, content: bytes) -> None:
    """DataError where a file begins like a workbook or an archive."""
    for begin, what in _NO_TEXT.items():
        if content.startswith(begin):
            raise DataError(
                f"{path} is {what}; expected a CSV file, or one compressed by gzip: save the sheet as CSV (UTF-8), or "
                "unpack the file"
            )


def _contents(path: pathlib.Path) -> Iterator[bytes]:
    """The bytes of a file, unpacked, a part at a time; an empty part at the end."""
    if path.is_dir():
        raise DataError(f"{path} is a folder; expected a CSV file")
    try:
        with path.open("rb") as raw:
            file: IO[bytes] = gzip.GzipFile(fileobj=raw) if raw.peek(2)[:2] == _GZIP else raw  # type: ignore[assignment]
            while content := file.read(_CHUNK):
                yield content
            yield b""
    except FileNotFoundError:
        where = "" if path.is_absolute() else f" (looked for in {pathlib.Path.cwd()})"
        raise DataError(f"no such file: {path}{where}") from None
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{path} is compressed by gzip, but damaged: {error}") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from None
