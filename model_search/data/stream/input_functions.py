"""Opens what a provider's `input_fn` yields: whatever it raises, and waiting without end, becomes one error."""

from __future__ import annotations

import logging
import queue
import re
import threading
import types
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any, Protocol

from model_search.errors import DataError, ModelSearchError, ProviderError

LONGEST_WAIT = 3600.0  # seconds that a tf.data.Dataset may take for one batch: as long as a trial may make no progress
FIRST_NOTE = 60.0  # seconds after which it is said that a batch is waited for
_LOG = logging.getLogger(__name__)
_NOISE = re.compile(r"\{\{.*?\}\}|\[Op:[^\]]*\]|\[\[.*?\]\]|Traceback \(most recent call last\).*|name: *$", re.DOTALL)
_NAMED = re.compile(r"[A-Za-z_.]*(?:Error|Exception|Exit|Iteration|Interrupt): ")
_LONGEST_WORDS = 400


class StreamProvider(Protocol):
    """The part of a provider that is needed here; see `provider.Provider`."""

    def get_input_fn(self, hparams: Any, mode: str, batch_size: int) -> Callable[[], Any]:
        """Opens the data."""

    def number_of_classes(self) -> int:
        """Number of classes, or of targets."""

    def get_feature_columns(self) -> Sequence[Any] | None:
        """Features to read, in order."""

    def get_loss_fn(self) -> Callable[..., Any] | None:
        """The provider's own loss."""

    def get_metric_fn(self) -> Callable[..., Any] | None:
        """The provider's own metric."""


def open_data(provider: StreamProvider, mode: str, batch_size: int) -> Any:
    """What the `input_fn` returns.

    Raises:
        ProviderError: if the provider's own code raises.
        DataError: if there is no function.
    """
    hparams = types.SimpleNamespace(batch_size=batch_size)
    try:
        input_fn = provider.get_input_fn(hparams, mode, batch_size)
        if not callable(input_fn):
            raise DataError(f"get_input_fn({mode!r}) returned {type(input_fn).__name__}; expected a function")
        return input_fn()
    except (ModelSearchError, MemoryError):
        raise
    except Exception as error:
        raise ProviderError(f"the input_fn for {mode!r} raised {in_words(error)}") from error


def elements(opened: Any, mode: str) -> Generator[Any, None, None]:
    """The elements of what an `input_fn` returned.

    A `tf.data.Dataset` is read in another thread. TensorFlow looks for the next element without Python, so that one
    that never yields (a filter that nothing passes, after an endless repeat) could not be left otherwise, not even by
    Ctrl-C. An iterable of Python is read in this one.

    Raises:
        ProviderError: if reading raises; says after how many elements.
        DataError: if a dataset has yielded nothing for `LONGEST_WAIT` seconds.
    """
    taken = 0
    source: Iterator[Any] | _Dataset | None = None
    try:
        source = _Dataset(opened, mode) if hasattr(opened, "element_spec") else iter(opened)
        for element in source:
            taken += 1
            yield element
    except (ModelSearchError, MemoryError):
        raise
    except Exception as error:
        after = f", after {taken} {'batch' if taken == 1 else 'batches'}" if taken else ""
        raise ProviderError(f"the input_fn for {mode!r} raised {in_words(error)}{after}") from error
    finally:
        if isinstance(source, _Dataset):
            source.close()


class _Dataset:
    """Takes the elements of a `tf.data.Dataset` in a thread of its own, one at a time."""

    def __init__(self, dataset: Any, mode: str):
        self._mode = mode
        self._asked: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._found: queue.SimpleQueue[tuple[Any, BaseException | None]] = queue.SimpleQueue()
        arguments = (iter(dataset), self._asked, self._found)
        threading.Thread(target=_answer, args=arguments, daemon=True, name=f"input_fn-{mode}").start()

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        self._asked.put(True)
        try:
            element, error = self._found.get(timeout=FIRST_NOTE)
        except queue.Empty:
            element, error = self._patiently()
        if error is not None:
            raise error
        return element

    def _patiently(self) -> tuple[Any, BaseException | None]:
        _LOG.warning(
            "the input_fn for %r has yielded nothing for %.0f seconds; it is given up after %.0f",
            *(self._mode, FIRST_NOTE, LONGEST_WAIT),
        )
        try:
            return self._found.get(timeout=max(0.0, LONGEST_WAIT - FIRST_NOTE))
        except queue.Empty:
            raise DataError(
                f"the dataset for {self._mode!r} has yielded nothing for {LONGEST_WAIT:g} seconds; expected a batch: "
                "perhaps nothing passes a filter that comes after .repeat()"
            ) from None

    def close(self) -> None:
        """Lets the thread end, as soon as TensorFlow returns."""
        self._asked.put(False)


def _answer(
    iterator: Iterator[Any],
    asked: queue.SimpleQueue[bool],
    found: queue.SimpleQueue[tuple[Any, BaseException | None]],
) -> None:
    while asked.get():
        try:
            found.put((next(iterator), None))
        except BaseException as error:  # raised where the element is waited for
            found.put((None, error))


def in_words(error: BaseException) -> str:
    """An exception in one line: its name and its message, without what TensorFlow adds for its developers."""
    text = " ".join(_NOISE.sub(" ", str(error)).split())
    if len(text) > _LONGEST_WORDS:
        text = f"{text[:_LONGEST_WORDS]} ..."
    comes_through_tensorflow = type(error).__module__.startswith("tensorflow") and _NAMED.match(text)
    return text if comes_through_tensorflow else f"{type(error).__name__}: {text or 'no message'}"
