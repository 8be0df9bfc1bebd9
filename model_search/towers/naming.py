"""Keeps the building of a tower apart from whatever else Keras builds in this process."""

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
    """Within it, the names that Keras makes up ("add_1", "seed_generator") start anew; afterwards they go on as before.

    Names then do not depend on what was built before. Nor does memory: TensorFlow keeps about 35 KB for every name of a
    variable that it has ever seen, and `Dropout` makes up a name for its seed generator.
    """
    before = global_state.get_global_attribute(_COUNTERS)
    global_state.set_global_attribute(_COUNTERS, collections.defaultdict(int))
    try:
        yield
    finally:
        global_state.set_global_attribute(_COUNTERS, before)


@contextlib.contextmanager
def seeded(seed: int, place: str) -> Iterator[None]:
    """Within it, Keras draws the seeds that nobody gave from (seed, place); afterwards it goes on as before.

    Keras takes the seed of an initializer, when it is made, from Python's own generator. The weights of a user's block
    thus follow from the seed, too.
    """
    before = random.getstate()
    random.seed(f"{seed}/{place}")
    try:
        yield
    finally:
        random.setstate(before)
