"""Reading many files by threads, in order and in bounded memory."""

from __future__ import annotations

import collections
import concurrent.futures
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

_Given = TypeVar("_Given")
_Result = TypeVar("_Result")


def read_ahead(
    pool: concurrent.futures.Executor, function: Callable[[_Given], _Result], given: Iterable[_Given], most: int
) -> Iterator[_Result]:
    """The results in order, of which at most so many wait to be taken: memory stays bounded.

    Args:
        pool: Runs the function.
        function: What is run.
        given: Its arguments.
        most: How many calls are under way, or done and not taken.
    """
    waiting: collections.deque[concurrent.futures.Future[_Result]] = collections.deque()
    for one in given:
        if len(waiting) == most:
            yield waiting.popleft().result()
        waiting.append(pool.submit(function, one))
    while waiting:
        yield waiting.popleft().result()
