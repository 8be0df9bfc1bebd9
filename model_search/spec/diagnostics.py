"""What is wrong with a specification, and where."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Literal

# Where something stands in a message: names of fields, and the index (or the key) after the name of a repeated one.
Path = tuple[str | int, ...]
Place = tuple[int, int]
Severity = Literal["error", "warning"]


@dataclasses.dataclass(frozen=True)
class Problem:
    """One thing that is wrong ("error": the search could not run as asked) or not done ("warning").

    Attributes:
        message: A plain sentence.
        line: Line in the text, from 1; None where there is no text or no place in it.
        column: Column in that line, from 1.
        severity: "error" or "warning".
    """

    message: str
    line: int | None = None
    column: int | None = None
    severity: Severity = "error"

    def __str__(self) -> str:
        if self.line is None:
            return self.message
        return f"line {self.line}, column {self.column}: {self.message}"


@dataclasses.dataclass(frozen=True)
class Positions:
    """Where the values of a message stand in the text that it was read from."""

    places: Mapping[Path, Place] = dataclasses.field(default_factory=dict)

    def find(self, paths: Sequence[Path]) -> Place | None:
        """The place of the first path that the text has; else of the nearest message around the first one."""
        for path in paths:
            if path in self.places:
                return self.places[path]
        around = (paths[0][:length] for length in range(len(paths[0]) - 1, 0, -1))
        return next((self.places[path] for path in around if path in self.places), None)


def one_of(names: Sequence[str] | frozenset[str]) -> str:
    """Names for a message: "a, b or c"."""
    listed = sorted(names)
    return listed[0] if len(listed) == 1 else f"{', '.join(listed[:-1])} or {listed[-1]}"
