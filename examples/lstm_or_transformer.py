"""Is an LSTM enough, or are transformer layers better, or both?

    python examples/lstm_or_transformer.py --archive=japanese_vowels.npz
    python examples/lstm_or_transformer.py --recordings=train.csv --test_recordings=test.csv --label=digit

A search of each family of blocks; the best three towers of each are trained again with three seeds, and evaluated on
test rows that no search has seen. The archive has `train_x` [rows, steps, channels], `train_y`, `train_lengths`, and
the same for `test`. The CSV files have paths of WAV files and a column of labels. Without any of them, a few short
waves are made up, and sizes are as small as can be.
"""

import argparse
from collections.abc import Mapping, Sequence

import numpy as np

from model_search import constants
from model_search.data import audio_data, sequence_data
from model_search.families import compare_families
from model_search.report.comparison import Comparison

RECURRENT = ("LSTM_32", "LSTM_64", "BI_LSTM_32", "BI_LSTM_64")
ATTENTION = ("TRANSFORMER_ENCODER_64_4", "TRANSFORMER_ENCODER_128_4")
SHARED = ("LAYER_NORMALIZATION", "MASKED_MEAN_MAX_POOLING")
FAMILIES: Mapping[str, Sequence[str]] = {
    "LSTM": (*RECURRENT, *SHARED),
    "transformer": (*ATTENTION, *SHARED),
    "both": (*RECURRENT, *ATTENTION, *SHARED),
}


def made_up(seed: int = 0) -> list[np.ndarray]:
    """Slow and fast waves of six steps: values, classes and lengths."""
    fast = np.random.default_rng(seed).integers(2, size=40)
    values = np.sin(np.arange(6) * np.where(fast, 1.5, 0.4)[:, None])[..., None]
    return [values.astype("float32"), np.array(["slow", "fast"])[fast], np.full(len(fast), 6)]


def main(arguments: Sequence[str] | None = None) -> Comparison:
    """Compares the families and prints what can be said."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--archive", help="the .npz file")
    parser.add_argument("--recordings", help="the CSV file of recordings to train on")
    parser.add_argument("--test_recordings", help="that of others")
    parser.add_argument("--label", default="label", help="the column of their labels")
    parser.add_argument("--root_dir", default="runs", help="folder of all studies")
    parser.add_argument("--trials", type=int, default=10, help="trials of each family")
    parser.add_argument("--best", type=int, default=3, help="towers of each that are trained again")
    parser.add_argument("--seeds", type=int, default=3, help="how often")
    parser.add_argument("--steps", type=int, default=300, help="steps of each training")
    options = parser.parse_args(arguments)
    provider: audio_data.Provider | sequence_data.Provider
    test: str | tuple[np.ndarray, ...]
    if options.recordings is not None:
        provider = audio_data.Provider(filename=options.recordings, label=options.label)
        spec, test = constants.DEFAULT_SOUND, options.test_recordings
    elif options.archive is not None:
        with np.load(options.archive, allow_pickle=False) as file:
            train, judged = ([file[f"{part}_{name}"] for name in ("x", "y", "lengths")] for part in ("train", "test"))
        provider, spec, test = sequence_data.Provider(*train), constants.DEFAULT_SEQUENCE, tuple(judged)
    else:
        options.trials = options.best = options.seeds = 1
        options.steps = 4
        provider, spec, test = sequence_data.Provider(*made_up()), constants.DEFAULT_SEQUENCE, tuple(made_up(1))
    found = compare_families(
        provider,
        spec,
        FAMILIES,
        test=test,
        best=options.best,
        seeds=options.seeds,
        number_models=options.trials,
        train_steps=options.steps,
        eval_steps=None,
        batch_size=32,
        root_dir=options.root_dir,
        experiment_name="families",
        experiment_owner="",
        metric="accuracy",
        seed=1,
        progress=False,
    )
    print(found)
    print(found.report(options.root_dir))
    return found


if __name__ == "__main__":
    main()
