"""Many processes that begin one study at once, with the same data or others; each waits right before the creation."""

import collections
import itertools
import json
import re

import pytest
from programs import DATABASE
from programs_studies import fingerprint_of_rows, first_seed, provider_of, spec_of

from model_search.metadata.artefacts import LocalArtefacts, load_arrays
from model_search.metadata.sqlite_store import SqliteStore
from model_search.metadata.trial import TrialState
from model_search.search.planning.planner import Planner, PlannerSettings
from model_search.spec.load import to_text
from model_search.trainers.opening.data_preparation import prepared
from model_search.trainers.opening.study_settings import prepare_options

PROCESSES = 8
REFUSALS = {
    "data": r"the training data differ \(the same columns, other values\)",
    "metric": r"its metric is (loss|accuracy) \(m..imize\), not (loss|accuracy) \(m..imize\)",
    "spec": r"blocks_to_use no longer has ",
    "seed": r"has seed \d+, not 7; leave the seed out to continue it",
}

LOST_RACES = {
    "refused to overwrite it": "begun or changed by another process just now, and is not overwritten|being worked on",
    "told that it is gone": "the study is no longer in .*: it was moved, deleted or overwritten",
}


@pytest.fixture
def begin(start, tmp_path):
    """`begin(changes for each process)`: all at once; returns the study's folder and what each said last."""
    turns = itertools.count()

    def run(changes, folder=None):
        folder = folder or tmp_path / str(next(turns))
        folder.mkdir(exist_ok=True)
        programs = [start("programs_studies.begin", folder=folder, **change) for change in changes]
        for program in programs:
            program.wait_for(lambda thing: thing == "ready")
        (folder / "go").touch()
        assert [program.join() for program in programs] == [0] * len(programs), [p.said()[-1] for p in programs]
        return folder / "runs" / "x", [program.said()[-1] for program in programs]

    return run


def check_whole(folder, stream=False, data="plain"):
    """The study is that of its record in every part; returns what each process must have worked with."""
    store = SqliteStore(folder / DATABASE, create=False)
    record, trials = store.study(), store.history()[0]
    spec = spec_of("other" if record.spec_text == to_text(spec_of("other")) else "plain")
    settings = PlannerSettings(record.seed, train_steps=10, batch_size=8, sampler="auto", number_models=1)
    rows = prepared(provider_of(data, stream), prepare_options(spec, record.seed, 8, 5, None))
    kept = load_arrays(LocalArtefacts(folder), store.files()["validation.npz"])
    assert [path.name for path in (folder / "files").iterdir()] == [store.files()["validation.npz"].path[6:]]
    store.close()
    assert (kept["labels"] == rows.valid.label).all()
    assert record.data_fingerprint == rows.fingerprint
    assert (folder / "spec.pbtxt").read_text() == record.settings["spec"] == record.spec_text == to_text(spec)
    assert {trial.result.environment["valid"] for trial in trials if trial.result} <= {fingerprint_of_rows(rows.valid)}
    assert all(trial.state is TrialState.COMPLETED for trial in trials)
    return {
        "seed": record.seed,
        "fingerprint": record.data_fingerprint,
        "spec": record.spec_text,
        "valid": fingerprint_of_rows(rows.valid),
        "planned": first_seed(Planner(spec, settings, record.metric, record.goal), record),
    }, trials


@pytest.mark.parametrize("stream", [False, True], ids=["table", "stream"])
def test_one_study_whoever_creates_it(begin, count, figure, stream):
    times, target = count(20, 1), count(8, 4)
    for _ in range(times):
        folder, said = begin([{"stream": stream, "target": target}] * PROCESSES)
        expected, trials = check_whole(folder, stream)
        assert said == [expected] * PROCESSES
        assert len(trials) == target
    figure(
        f"{PROCESSES} processes begin one study at once ({'a stream' if stream else 'a table'}), {times} times",
        f"one seed, fingerprint, specification and set of validation rows each time; {times * target} trials on it",
    )


@pytest.mark.parametrize("kind", REFUSALS)
def test_what_does_not_fit_the_first_is_refused(begin, count, figure, kind):
    times = count(20, 1)
    other = {kind: {"data": "other", "metric": "accuracy", "spec": "other", "seed": 7}[kind]}
    won = collections.Counter()
    for _ in range(times):
        folder, said = begin([{"target": 4}, {"target": 4} | other] * (PROCESSES // 2))
        refused = [thing for thing in said if "error" in thing]
        joined = [thing for thing in said if "error" not in thing]
        for thing in refused:
            assert thing["error"] == "StudyError"
            assert re.search(REFUSALS[kind], thing["message"])
            assert "\n" not in thing["message"]
        store = SqliteStore(folder / DATABASE)
        record = store.study()
        store.close()
        data = "plain" if kind != "data" else "other" if "error" in said[0] else "plain"
        expected, trials = check_whole(folder, data=data)
        assert joined == [expected] * len(joined)
        assert len(trials) == 4
        # Those that leave the seed out take that of the first; more blocks are no obstacle.
        if (kind, record.seed) == ("seed", 7) or record.spec_text == to_text(spec_of("other")):
            assert not refused
        else:
            assert len(refused) == PROCESSES // 2
            assert {"error" in thing for thing in said[::2]} != {"error" in thing for thing in said[1::2]}
        won["other" if len(refused) < 4 or "error" in said[0] else "plain"] += 1
    figure(
        f"{PROCESSES} processes begin one study at once, half with other {kind}, {times} times",
        f"the study of the first is whole each time, the rest refused in a sentence ({json.dumps(won)})",
    )


@pytest.mark.parametrize("earlier", [False, True], ids=["nothing", "a study"])
def test_overwriting_and_beginning_at_once(begin, start, count, figure, tmp_path, earlier):
    """Half overwrite what is there at the moment at which the others create or continue it."""
    times, target = count(20, 2), 3
    ends = collections.Counter()
    for turn in range(times):
        folder = tmp_path / str(turn)
        if earlier:
            folder.mkdir()
            assert start("programs_studies.begin", folder=folder, target=1, waits=False).join() == 0
        overwrites = {"overwrite": True, "target": target}
        folder, said = begin([{"target": target}, overwrites] * (PROCESSES // 2), folder)
        expected, trials = check_whole(folder)
        assert len(trials) == target
        for thing in said:
            if "error" in thing:
                kinds = [kind for kind, words in LOST_RACES.items() if re.search(words, thing["message"])]
                assert len(kinds) == 1, thing
                assert "\n" not in thing["message"]
                ends[kinds[0]] += 1
            else:
                assert thing == expected
                ends["works on the study that is there"] += 1
        assert [path.name for path in folder.parent.iterdir()] == ["x"]
    what = "continue a study" if earlier else "create a study"
    figure(
        f"{PROCESSES // 2} processes {what} while {PROCESSES // 2} overwrite it, {times} times",
        f"one whole study each time; {', '.join(f'{number} {end}' for end, number in ends.most_common())}",
    )
