"""Sequences that tests make, and what a study remembers of them."""

import numpy as np

from model_search.data.prepare_options import PrepareOptions

OPTIONS = PrepareOptions(seed=1, batch_size=8)
PER_STEP = PrepareOptions(seed=1, batch_size=8, label_per_step=True)


def made(count=40, channels=2, seed=0):
    """Sequences of 2 to 7 steps and a class for each."""
    generator = np.random.default_rng(seed)
    x = [generator.normal(size=(2 + row % 6, channels)).astype(np.float32) for row in range(count)]
    return x, np.array([("low", "high")[row % 2] for row in range(count)])


def as_described(data):
    """What a study remembers of its data, as far as later rows need it."""
    return {**data.description, "inputs": {name: spec.to_json() for name, spec in data.input_specs.items()}}


def long_csv(path, x, labels, order):
    lines = [
        f"{row},{step},{one[step, 0]},{one[step, 1]},{labels[row]}\n"
        for row, one in enumerate(x)
        for step in range(len(one))
    ]
    path.write_text("id,time,left,right,label\n" + "".join(lines[place] for place in order(len(lines))))
    return path
