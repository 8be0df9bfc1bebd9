"""The job that a worker in another process is sent: the study's parts and the user's blocks, by cloudpickle."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import importlib.machinery
import importlib.metadata
import io
import pickle
import struct
import sys
from collections.abc import Iterator, Sequence
from types import ModuleType
from typing import Any, BinaryIO, ClassVar

import numpy as np

from model_search.blocks import catalogue
from model_search.blocks.catalogue import BlockInfo
from model_search.data.files.mapped_arrays import MappedArray, mapped
from model_search.errors import StudyError, UserError
from model_search.metadata.filesystem import FileIdentity
from model_search.metadata.sqlite_store import SqliteStore
from model_search.metadata.store import Store
from model_search.metadata.study_folder import VanishedStudyError
from model_search.search.declared import declarations_of_users, restore_declarations
from model_search.trainers.session import Session
from model_search.training.evaluator import EVALUATORS

_COUNT = struct.Struct("!Q")


@dataclasses.dataclass(frozen=True)
class Contents:
    """The parts of a session besides its store, and the blocks that the user has registered.

    `file` is the identity of the database: where a study is moved and another one is begun in its place, a worker that
    starts afterwards must not even open the other one's, which it might find half made.
    """

    session: dict[str, Any]
    blocks: tuple[BlockInfo, ...]
    file: FileIdentity | None = None
    declared: dict[str, Any] = dataclasses.field(default_factory=dict)  # the user's own searches, samplers, ...
    evaluators: dict[str, Any] = dataclasses.field(default_factory=dict)

    @classmethod
    def of(cls, session: Session) -> Contents:
        """All that a worker needs of a session."""
        values = {field.name: getattr(session, field.name) for field in dataclasses.fields(session)}
        del values["store"]
        infos = (catalogue.get(name) for name in catalogue.names())
        blocks = tuple(info for info in infos if info.builder is not None)
        file = session.store.file if isinstance(session.store, SqliteStore) else None
        return cls(values, blocks, file, declarations_of_users(), EVALUATORS.of_users())

    def open(self, store: Store) -> Session:
        """The session in the worker's process, the blocks registered as they were in the sender's.

        Raises:
            VanishedStudyError: if the study is another one by now, begun anew under the same name.
        """
        with contextlib.suppress(StudyError):  # being made
            if store.study().is_same(self.session["record"]):
                return self._opened(store)
        raise VanishedStudyError.of(self.session["folder"])

    def _opened(self, store: Store) -> Session:
        for info in self.blocks:  # importing the user's module may have registered some, perhaps under other numbers
            if catalogue.is_known(info.name):
                catalogue.unregister(info.name)
        for info in self.blocks:
            catalogue.register(info)
        restore_declarations(self.declared)
        EVALUATORS.restore(self.evaluators)
        return Session(store=store, **self.session)


class SerializedJob:
    """A pickled object. Large arrays are referred to, not copied, until they are written.

    Of arrays in files, a process on this machine is sent the place alone. The files stay open until `close`, so that
    they are there even if they are deleted in the meantime.
    """

    def __init__(self, thing: Any, far: bool = False):
        """Pickles.

        Args:
            thing: The object to send.
            far: Whether it goes to another machine, which has the installed packages but not the user's own files.

        Raises:
            UserError: if something cannot be sent; the message says what, and what to do.
        """
        self._files: list[BinaryIO] = []
        buffers: list[pickle.PickleBuffer] = []
        try:
            with _by_value(_modules_out_of_reach(far)):
                head = self._pickled(thing, buffers, far)
        except Exception as error:  # whatever the user's objects raise
            self.close()
            raise UserError(
                f"the data, or a function or block of yours, cannot be sent to a worker process ({error}); let the "
                "provider open files, connections and datasets in get_input_fn rather than keep them, or use workers=1"
            ) from error
        self.parts: Sequence[bytes | memoryview] = [head, *(buffer.raw() for buffer in buffers)]

    def _pickled(self, thing: Any, buffers: list[pickle.PickleBuffer], far: bool) -> bytes:
        import cloudpickle

        own = {np.memmap: self._reduced}

        class Pickler(cloudpickle.Pickler):
            """Pickles arrays in files by their place."""

            dispatch_table: ClassVar[Any] = collections.ChainMap(own, cloudpickle.Pickler.dispatch_table)

        with io.BytesIO() as file:
            (cloudpickle.Pickler if far else Pickler)(file, protocol=5, buffer_callback=buffers.append).dump(thing)
            return file.getvalue()

    def _reduced(self, array: np.memmap[Any, Any]) -> Any:
        found = mapped(array)
        if found is None:
            return array.__reduce_ex__(5)
        where, file = found
        self._files.append(file)
        return MappedArray.opened, (where,)

    @property
    def descriptors(self) -> tuple[int, ...]:
        """The numbers of open files that a process which opens the job is started with."""
        return tuple(file.fileno() for file in self._files)

    def close(self) -> None:
        """Closes the files of arrays; processes that have begun keep theirs."""
        for file in self._files:
            file.close()
        self._files.clear()

    def write(self, file: BinaryIO) -> None:
        """Writes it into a pipe."""
        file.write(_COUNT.pack(len(self.parts)))
        for part in self.parts:
            file.write(_COUNT.pack(len(part)))
            file.write(part)
        file.flush()

    @staticmethod
    def receive(file: BinaryIO) -> list[bytearray]:
        """Reads what `write` has written, for `opened`.

        Raises:
            EOFError: if the pipe ends early.
        """
        return [_read(file, _number(file)) for _ in range(_number(file))]

    @staticmethod
    def opened(parts: Sequence[Any]) -> Any:
        """The object; only ever called with what the parent process has written."""
        return pickle.loads(parts[0], buffers=parts[1:])  # noqa: S301 - the parent process has written it


def _number(file: BinaryIO) -> int:
    found: int = _COUNT.unpack(_read(file, _COUNT.size))[0]
    return found


def _read(file: BinaryIO, size: int) -> bytearray:
    """Exactly `size` bytes."""
    content = bytearray(size)
    view, done = memoryview(content), 0
    while done < size:
        count = file.readinto(view[done:])  # type: ignore[attr-defined]
        if not count:
            raise EOFError("the pipe has ended")
        done += count
    return content


def _modules_out_of_reach(far: bool) -> list[ModuleType]:
    """Modules that the receiver could not import, such as a provider's file loaded by its path."""
    known = sys.stdlib_module_names | {"__main__", "__mp_main__", "model_search"}
    names = {name for name in sys.modules if "." not in name} - known
    within_reach = set(importlib.metadata.packages_distributions()).__contains__ if far else _can_be_found
    return [sys.modules[name] for name in sorted(names) if _has_file(name) and not within_reach(name)]


def _has_file(name: str) -> bool:
    return isinstance(getattr(sys.modules[name], "__file__", None), str)


def _can_be_found(name: str) -> bool:
    """Whether `import name` would succeed in a process that has not imported it yet."""
    for finder in sys.meta_path:
        find = getattr(finder, "find_spec", importlib.machinery.PathFinder.find_spec)
        with contextlib.suppress(Exception):
            if find(name, None) is not None:
                return True
    return False


@contextlib.contextmanager
def _by_value(modules: Sequence[ModuleType]) -> Iterator[None]:
    import cloudpickle

    fresh = [module for module in modules if module.__name__ not in cloudpickle.list_registry_pickle_by_value()]
    for module in fresh:
        cloudpickle.register_pickle_by_value(module)
    try:
        yield
    finally:
        for module in fresh:
            cloudpickle.unregister_pickle_by_value(module)
