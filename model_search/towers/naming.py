"""Isolates the names and seeds of a tower from whatever else Keras builds in this process."""

from __future__ import annotations

import collections
import contextlib
import random
from collections.abc import Iterator

# Keras has no public way to set its counters of names aside; `clear_session` would reset those of the user's models.
from keras.src.backend.common import global_state

_COUNTERS = "object_name_uids"


@contextlib.contextmanager
def own_names() -> Iterator[None]:
    """Within this context, Keras numbers its automatic names ("add_1", "seed_generator") from the start.

    Afterwards it continues as before. Names then do not depend on what was built before. It also saves memory:
    TensorFlow keeps about 35 KB for every name of a variable that it has ever seen, and `Dropout` generates a name for
    its seed generator.
    """
    before = global_state.get_global_attribute(_COUNTERS)
    global_state.set_global_attribute(_COUNTERS, collections.defaultdict(int))
    try:
        yield
    finally:
        global_state.set_global_attribute(_COUNTERS, before)


@contextlib.contextmanager
def seeded(seed: int, place: str) -> Iterator[None]:
    """Within this context, unspecified Keras seeds are drawn from (seed, place).

    Afterwards Keras continues as before. It takes the seed of an initializer, when that is created, from Python's own
    generator. The weights of a user's block thus depend on the seed, too.
    """
    before = random.getstate()
    random.seed(f"{seed}/{place}")
    try:
        yield
    finally:
        random.setstate(before)
