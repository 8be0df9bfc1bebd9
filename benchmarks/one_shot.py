"""What do shared weights tell, and what does a search of cells bring?

    python benchmarks/one_shot.py --datasets DIR --results DIR2           # every row
    python benchmarks/one_shot.py --datasets DIR --results DIR2 --only SPOS
    python benchmarks/one_shot.py --datasets DIR --results DIR2 --tiny    # to see that it runs

SPOS, ENAS, DARTS   A small space of cells on the CIFAR-10 folders (4,000 pictures train, 1,000 of the training folder
                    validate, the test folder's 1,000 judge). 200 architectures are compared with shared weights; some
                    forty random ones and the best candidates are trained from scratch with the same settings. Told are
                    Spearman's correlation of the shared value with the accuracy of the training from scratch, with its
                    95 % interval; the accuracy of the best candidate beside the first ten random architectures, both
                    on validation and on test rows; and how much less a candidate costs than a training from scratch.
mends               Supernets of DARTS with other settings, and of SPOS, of half as many updates: how they rank the
                    architectures that the row DARTS has trained from scratch, by shared values and by the product of
                    the shares of their choices; and the accuracy of the cell of the greatest shares, from scratch.
vowels              A recurrent cell found on Japanese Vowels beside an LSTM with as many parameters, both trained for
                    the same steps: the mean test accuracy of ten seeds. The cell is chosen on validation rows alone:
                    of 24, the best twelve are trained five times again, with other seeds than those of the test.

The studies are kept in the folder `--results`, and a second call goes on where the first one ended.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import pathlib
import statistics
import sys
from collections.abc import Sequence
from typing import Any

from tables import VARIABLE, add_datasets_flag

METHODS = ("SPOS", "ENAS", "DARTS")
MENDS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("DARTS", {}),
    ("DARTS", {"warm_up": 0.5}),
    ("DARTS", {"most_identities": 2}),
    ("DARTS", {"eigenvalue_ratio": 0.75}),
    ("DARTS", {"order": 2}),
    ("DARTS", {"sampled": True}),
    ("DARTS", {"sampled": True, "warm_up": 0.5}),
    ("SPOS", {}),
)
ROWS = (*METHODS, "mends", "vowels")
FLATTEN = "PLATE_REDUCTION_FLATTEN"
OPERATIONS = (
    "CELL_IDENTITY", "CELL_CONVOLUTION_1X1", "CELL_CONVOLUTION_3X3", "CELL_AVERAGE_POOLING_3X3", "CELL_MAX_POOLING_3X3",
)  # fmt: skip
RANDOM, DERIVED = 42, 4  # architectures that are trained from scratch
PARTS = 2  # trials of the supernet
COMPARED_WITH = 10  # random ones that the derived one is compared with
SEEDS_OF_VOWELS = 10
SEARCHED_CELLS, CELLS_AGAIN, TIMES_AGAIN, STEPS_OF_VOWELS = 24, 12, 5, 400
LSTM_UNITS = 32
GOALS = {"correlation": 0.5, "cheaper": 10.0}


@dataclasses.dataclass(frozen=True)
class Size:
    """How much is done."""

    steps: int = 250
    supernet_steps: int = 2000
    candidates: int = 200
    random: int = RANDOM
    derived: int = DERIVED
    batch_size: int = 64


TINY = Size(steps=10, supernet_steps=40, candidates=12, random=5, derived=2)


def space(method: str, size: Size, more: str = "") -> Any:
    """The specification of a search with shared weights; without a method that of a search at random."""
    from model_search.spec.load import load_text

    settings = {"supernet_steps": size.supernet_steps, "candidates": size.candidates, "supernet_parts": PARTS}
    given = "".join(f'hparam {{ key: "{name}" value {{ int64_value: {n} }} }} ' for name, n in settings.items())
    share = size.random / (size.random + size.derived)
    given += f'hparam {{ key: "random_share" value {{ float_value: {share} }} }}'
    operations = ", ".join(f"'{name}'" for name in OPERATIONS)
    more += f" search_settings {{ {given} }}" if method else ""
    return load_text(
        f"""problem_type: CNN search: "{method or "NONADAPTIVE_RANDOM_SEARCH"}" starting_points: false
        cell {{ nodes: 2 channels: 8 stem_stride: 4 operations: [{operations}] }}
        learning_spec {{ optimizers: "adam" learning_rate_range {{ minimum: 0.005 maximum: 0.005 }} }}
        {more}"""
    )


def _searched(provider: Any, spec: Any, models: int, size: Size, folder: pathlib.Path) -> Any:
    """The study of that folder, by accuracy and without a final stage; it goes on where it is there already."""
    from model_search import single_trainer

    return single_trainer.SingleTrainer(provider, spec).try_models(
        number_models=models,
        train_steps=size.steps,
        eval_steps=None,
        root_dir=str(folder.parent),
        batch_size=size.batch_size,
        experiment_name=folder.name,
        experiment_owner="benchmark",
        metric="accuracy",
        seed=1,
        finish="neither",
        progress=False,
    )


def shared(datasets: pathlib.Path, results: pathlib.Path, method: str, size: Size) -> None:
    """The row of a method."""
    from model_search.data import image_data
    from model_search.report.one_shot import shared_weights, spearman

    folder = datasets / "images" / "cifar10"
    name = f"{method.lower()}-{size.steps}-{size.supernet_steps}"
    provider = image_data.Provider(str(folder / "train"), 32, 32)
    study = _searched(provider, space(method, size), PARTS + size.random + size.derived, size, results / name)
    facts = shared_weights(study.history)
    if facts is None or facts.seconds_alone is None:
        sys.exit(f"{method}: no architectures were compared")
    on_test = _on_test(study, str(folder / "test"), results / f"{name}.json")
    on_valid = {trial.id: trial.objective("accuracy") for trial in study.history.towers.completed}
    each = facts.seconds / facts.candidates
    print(f"{method}: supernet and {facts.candidates} comparisons {facts.seconds:.0f} s", end=", ")
    print(f"a candidate {each:.2f} s, a training from scratch {facts.seconds_alone:.1f} s")
    _judged("  times cheaper", facts.seconds_alone / each, GOALS["cheaper"])
    for rows, values in (("validation", on_valid), ("test", on_test)):
        _compared(study, rows, values)
    if facts.random_at_equal_cost is not None:
        print(f"  at equal cost {facts.at_equal_cost:.3g} random architectures, whose best reaches", end=" ")
        print(f"{facts.random_at_equal_cost:.3f} on validation rows, as far as {len(facts.random)} tell")
    alike = spearman([(on_valid[number], on_test[number]) for number in on_test])
    if alike is not None:  # what no ranking by validation rows can be much better than
        print(f"  Spearman of standalone validation and test accuracy: {alike.value:.2f}")
    study.close()


def mends(datasets: pathlib.Path, results: pathlib.Path, size: Size, updates: int | None = None) -> None:
    """The row of what might keep DARTS from collapsing; it needs the row DARTS."""
    from model_search import load_study
    from model_search.cells import canonical, in_words
    from model_search.data import image_data
    from model_search.report.one_shot import spearman
    from model_search.search.space.architecture import body_of
    from model_search.training.supernet import evaluator
    from model_search.training.supernet.paths import Paths

    scratch = load_study(str(results), f"darts-{size.steps}-{size.supernet_steps}")
    trained = scratch.history.towers.completed
    alone = {trial.id: trial.objective("accuracy") for trial in trained}
    random = sorted(trial.id for trial in trained if trial.plan.random)
    architectures = {trial.id: body_of(trial.plan.architecture) for trial in trained}
    scratch.close()
    provider = image_data.Provider(str(datasets / "images" / "cifar10" / "train"), 32, 32)
    greatest: dict[str, tuple[str, ...]] = {}
    half = dataclasses.replace(
        size, supernet_steps=updates or size.supernet_steps // 2, candidates=2 * len(architectures)
    )
    for method, settings in MENDS:
        spec = space(method, half)
        given = spec.search_settings.hparam
        given["supernet_parts"].int64_value = 1
        for name, value in settings.items():
            setattr(given[name], {bool: "bool_value", int: "int64_value", float: "float_value"}[type(value)], value)
        stock = evaluator.METHODS[method]
        evaluator.METHODS[method] = _proposing(stock, list(architectures.values()))
        words = "-".join([method.lower(), *(f"{name}-{value}" for name, value in settings.items())])
        try:
            study = _searched(provider, spec, 1, size, results / f"{words}-{half.supernet_steps}")
        finally:
            evaluator.METHODS[method] = stock
        known = _shared(study)
        print(f"{method} {settings}: {study.trial(1).result.timings['train']:.0f} s", end="")
        forms = {number: canonical(architecture) for number, architecture in architectures.items()}
        ranked = {"shared values": {number: known[form] for number, form in forms.items() if form in known}}
        paths = Paths(study.trial(1).plan.supernet)
        if method == "DARTS":
            shares = _shares(study, paths)
            chosen = [paths.path(architecture) for architecture in architectures.values()]
            products = [sum(float(part[c]) for part, c in zip(shares, path, strict=True)) for path in chosen]
            ranked["product of shares"] = dict(zip(architectures, products, strict=True))
            greatest[f"{method} {settings}"] = paths.architecture(paths.path(_greatest(paths, shares)))
            print(", greatest", *in_words(greatest[f"{method} {settings}"]), end="")
        print()
        for what, values in ranked.items():
            found = [
                spearman([(values[number], alone[number]) for number in numbers if number in values])
                for numbers in (sorted(values), random)
            ]
            texts = [f"{one.value:.2f} [{one.low:.2f}, {one.high:.2f}] over {one.pairs}" for one in found if one]
            print(
                f"  Spearman of {what} with standalone validation accuracy: {', of random ones '.join(texts)}",
                flush=True,
            )
        study.close()
    suggested = [f"user_suggestions {{ architecture: {json.dumps([*cell, FLATTEN])} }}" for cell in greatest.values()]
    spec, name = space("", size, " ".join(suggested)), f"greatest-{size.steps}-{half.supernet_steps}"
    study = _searched(provider, spec, len(suggested), size, results / name)
    reached = {trial.plan.architecture: trial.objective("accuracy") for trial in study.history.towers.completed}
    for words, cell in greatest.items():
        print(f"{words}: the greatest cell has {reached.get((*cell, FLATTEN), math.nan):.3f} from scratch")
    study.close()


def _proposing(method: Any, architectures: list[tuple[str, ...]]) -> Any:
    """A method of training a supernet that proposes these architectures first."""

    class Proposing(method):  # type: ignore[misc]
        """The method; only its candidates differ."""

        def propose(self, scored: Any, objective: Any, rng: Any) -> Any:
            """The first architecture that has not been compared, then those of the method."""
            known = {candidate.choices for candidate in scored}
            wanted = (self.paths.path(architecture) for architecture in architectures)
            return next((path for path in wanted if path not in known), None) or super().propose(scored, objective, rng)

    return Proposing


def _shares(study: Any, paths: Any) -> list[Any]:
    """The logarithms of the shares that a supernet of DARTS has learnt, by position."""
    import numpy as np

    from model_search.metadata.artefacts import LocalArtefacts, load_arrays
    from model_search.metadata.paths import WEIGHTS

    weights = next(file for file in study.trial(1).artefacts if file.name == WEIGHTS)
    alphas = load_arrays(LocalArtefacts(study.folder), weights)["method/alphas"].astype(float)
    parts = np.split(alphas, np.cumsum([len(names) for names in paths.plan.positions])[:-1])
    return [part - np.log(np.exp(part).sum()) for part in parts]


def _greatest(paths: Any, shares: list[Any]) -> tuple[str, ...]:
    blocks: tuple[str, ...] = paths.plan.architecture_of([int(part.argmax()) for part in shares])
    return blocks


def _compared(study: Any, rows: str, values: dict[int, float]) -> None:
    """How shared values rank standalone ones on some rows, and the best candidate beside random architectures."""
    from model_search.report.one_shot import spearman

    pairs = _pairs(study, values)
    random = [number for number in sorted(values) if study.trial(number).plan.random]
    among_random = spearman([pairs[number] for number in random if number in pairs])
    both = spearman(list(pairs.values()))
    if among_random is not None and both is not None:
        interval = f"[{both.low:.2f}, {both.high:.2f}] over {both.pairs} architectures"
        _judged(f"  Spearman with standalone {rows} accuracy", both.value, GOALS["correlation"], interval)
        low, high = among_random.low, among_random.high
        print(f"    over the {among_random.pairs} random ones alone {among_random.value:.2f} [{low:.2f}, {high:.2f}]")
    best = max((number for number in pairs if number not in random), key=lambda number: pairs[number][0], default=None)
    if best is not None and len(random) >= 2:
        others = [values[number] for number in random[:COMPARED_WITH]]
        goal = statistics.mean(others) + statistics.stdev(others)
        text = f"{len(others)} random ones {statistics.mean(others):.3f}, deviation {statistics.stdev(others):.3f}"
        _judged(f"  {rows} accuracy of the best candidate (trial {best})", values[best], goal, text)


def _on_test(study: Any, test: str, file: pathlib.Path) -> dict[int, float]:
    """Accuracy on the test rows of every tower trained from scratch."""
    known = {int(number): value for number, value in json.loads(file.read_text()).items()} if file.exists() else {}
    for trial in study.history.towers.completed:
        if trial.id not in known:
            known[trial.id] = float(study.evaluate(test, trial=trial.id)["accuracy"])
            file.write_text(json.dumps(known))
    return dict(sorted(known.items()))


def _pairs(study: Any, values: dict[int, float]) -> dict[int, tuple[float, float]]:
    """Shared and standalone value by trial, of the architectures that have both."""
    from model_search.cells import canonical
    from model_search.search.space.architecture import body_of

    known = _shared(study)
    forms = {number: canonical(body_of(study.trial(number).plan.architecture)) for number in values}
    return {number: (known[form], values[number]) for number, form in forms.items() if form in known}


def _shared(study: Any) -> dict[tuple[str, ...], float]:
    """The values of what was compared with shared weights, by the canonical form."""
    from model_search.cells import canonical
    from model_search.search.algorithms.one_shot import compared

    last = compared(study.history)
    architectures = last.plan.supernet.architecture_of
    return {canonical(architectures(c.choices)): c.value for c in last.result.candidates}


def vowels(datasets: pathlib.Path, results: pathlib.Path, size: Size) -> None:
    """A recurrent cell beside an LSTM of the same size."""
    import numpy as np

    from model_search.data import sequence_data

    file = np.load(datasets / "sequences" / "japanese_vowels.npz")
    train, test = ([file[f"{part}_{name}"] for name in ("x", "y", "lengths")] for part in ("train", "test"))
    tiny, provider = size is TINY, sequence_data.Provider(*train)
    steps, seeds, times = (10, 1, 1) if tiny else (STEPS_OF_VOWELS, SEEDS_OF_VOWELS, TIMES_AGAIN)
    cell = "cell { nodes: 4 units: UNITS }".replace("UNITS", str(_cell_units(train[0].shape[-1])))
    evolution = f"{cell} search: 'REGULARIZED_EVOLUTION' evolution {{ population_size: 8 sample_size: 4 }}"
    found = _study(provider, evolution, results / f"vowels-{steps}", (3 if tiny else SEARCHED_CELLS, steps, 1))
    # One training on few validation rows says little, so the best few are trained again, and the new ones alone count.
    losses: dict[tuple[str, ...], float] = {}
    for trial in found.history.completed[: 1 if tiny else CELLS_AGAIN]:
        text = f"{cell} user_suggestions {{ architecture: {json.dumps(list(trial.plan.architecture))} }}"
        again = []
        for seed in range(seeds + 1, seeds + times + 1):
            study = _study(provider, text, results / f"vowels-{trial.id}-{steps}-{seed}", (1, steps, seed))
            again.append(study.trial(1).objective("loss"))
            study.close()
        losses[trial.plan.architecture] = statistics.mean(again)
        print(f"vowels: {trial.plan.described}: validation losses {[round(loss, 4) for loss in again]}", flush=True)
    best = min(losses, key=lambda architecture: losses[architecture])
    rivals = {
        "the cell": f"{cell} user_suggestions {{ architecture: {json.dumps(list(best))} }}",
        "an LSTM": f"blocks_to_use: 'LSTM_{LSTM_UNITS}' user_suggestions {{ architecture: 'LSTM_{LSTM_UNITS}' }}",
    }
    scores: dict[str, list[float]] = {}
    for who, text in rivals.items():
        for seed in range(1, seeds + 1):
            name = f"vowels-{who.split()[-1]}-{steps}-{seed}"
            study = _study(provider, text, results / name, (1, steps, seed))
            scores.setdefault(who, []).append(float(study.evaluate(tuple(test), trial=1)["accuracy"]))
            parameters = study.trial(1).result.parameters
            study.close()
        values = scores[who]
        error = statistics.stdev(values) / math.sqrt(seeds) if seeds > 1 else math.nan
        mean, each = statistics.mean(values), [round(value, 4) for value in values]
        print(f"  {who} ({parameters:,} parameters): {mean:.4f} +- {error:.4f} {each}")
    means = [statistics.mean(values) for values in scores.values()]
    _judged("  mean test accuracy of the cell", means[0], means[1], "that of the LSTM")


def _cell_units(width: int) -> int:
    """Units of a cell of four nodes with as many parameters as the LSTM, at most: without those of the head."""
    wanted = 4 * LSTM_UNITS * (width + LSTM_UNITS + 1)
    return max(u for u in range(1, 200) if 2 * u * (width + 1) + 2 * u * u + 3 * 2 * u * (u + 1) <= wanted)


def _study(provider: Any, text: str, folder: pathlib.Path, sizes: tuple[int, int, int]) -> Any:
    from model_search import single_trainer
    from model_search.spec.load import load_text

    models, steps, seed = sizes
    fixed = 'optimizers: "adam" learning_rate_range { minimum: 0.005 maximum: 0.005 }'
    spec = load_text(
        f"problem_type: RNN_LAST_ACTIVATIONS starting_points: false minimum_depth: 1 {text} learning_spec {{ {fixed} }}"
    )
    return single_trainer.SingleTrainer(provider, spec).try_models(
        number_models=models,
        train_steps=steps,
        eval_steps=None,
        root_dir=str(folder.parent),
        batch_size=32,
        experiment_name=folder.name,
        experiment_owner="benchmark",
        seed=seed,
        finish="neither",
        progress=False,
    )


def _judged(what: str, value: float, goal: float, more: str = "") -> None:
    word = "reached" if value >= goal else "MISSED"
    print(f"{what} {value:.3g}{f' {more}' if more else ''}; at least {goal:.3g}: {word}", flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_datasets_flag(parser)
    parser.add_argument("--only", help=f"comma-separated, of {', '.join(ROWS)}")
    parser.add_argument("--results", default="one_shot_results", help="the folder of the studies")
    parser.add_argument("--updates", type=int, help="of each supernet of the row mends, in place of half as many")
    parser.add_argument("--tiny", action="store_true", help="a few steps, to see that it runs")
    options = parser.parse_args(arguments)
    if not options.datasets:
        sys.exit(f"no datasets: name their folder with --datasets or the variable {VARIABLE}")
    datasets, results = pathlib.Path(options.datasets), pathlib.Path(options.results)
    results.mkdir(parents=True, exist_ok=True)
    size = TINY if options.tiny else Size()
    for row in options.only.split(",") if options.only else ROWS:
        if row == "vowels":
            vowels(datasets, results, size)
        elif row == "mends":
            mends(datasets, results, size, options.updates)
        elif row in METHODS:
            shared(datasets, results, row, size)
        else:
            sys.exit(f"there is no row {row!r}; expected some of {', '.join(ROWS)}")


if __name__ == "__main__":
    main()
