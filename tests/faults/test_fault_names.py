"""Names that would lead astray: of studies, owners, workers, columns and labels."""

import dataclasses
import pathlib
import tempfile

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from programs import make_plan, make_record, make_result

from model_search.data.array_data import Provider
from model_search.data.prepare_options import PrepareOptions
from model_search.data.task import Task
from model_search.errors import DataError
from model_search.metadata import paths
from model_search.metadata.artefacts import LocalArtefacts
from model_search.metadata.records import plain_text
from model_search.metadata.sqlite_store import SqliteStore

ODD = ["../up", "/etc/passwd", "a\0b", "'; DROP TABLE trials; --", "%2e%2e", "con", "\udcff", "$(touch x)", "é" * 150]
NAMES = st.one_of(st.sampled_from(ODD), st.text(st.characters(), max_size=25))
LABELS = st.one_of(
    st.sampled_from(ODD[:-3]), st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
)


def keep_one_trial(root, name, owner, worker):
    folder = paths.study_dir(root, name)
    folder.mkdir(parents=True)
    store = SqliteStore(folder / paths.DATABASE)
    store.create_study(dataclasses.replace(make_record(), name=plain_text(name), owner=plain_text(owner)))
    claim = store.claim(worker, 5)
    store.commit_plan(claim, make_plan(1))
    artefact = LocalArtefacts(folder).write(1, worker[:8], b"content")
    store.complete(claim, dataclasses.replace(make_result(1), artefacts=(artefact,)))
    store.close()
    return folder


def test_names_of_studies_owners_and_workers(count, figure):
    examples = count(250, 25)
    tried = set()

    @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck))
    @given(NAMES, NAMES, NAMES)
    def keeps(name, owner, worker):
        tried.add((name, owner, worker))
        with tempfile.TemporaryDirectory() as place:
            root = pathlib.Path(place) / "above" / "root"
            root.mkdir(parents=True)
            folder = keep_one_trial(root, name, owner, worker)
            assert folder.is_relative_to(root)
            assert folder != root
            assert paths.list_studies(root) == [name]
            store = SqliteStore(folder / paths.DATABASE)
            assert (store.study().name, store.study().owner) == (plain_text(name), plain_text(owner))
            trial = store.trial(1)
            store.close()
            assert trial.worker == plain_text(worker)
            assert LocalArtefacts(folder).read(trial.result.artefacts[0]) == b"content"
            assert all(found.is_relative_to(root) for found in pathlib.Path(place).rglob("*") if found.is_file())

    keeps()
    figure(
        f"hostile names of studies, owners and workers, {len(tried)} tried", "all come back, nothing outside root_dir"
    )


def test_names_of_columns_and_labels(count, figure, tmp_path):
    examples = count(250, 15)
    tried = set()

    @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(LABELS, min_size=2, max_size=3, unique=True), st.lists(LABELS, min_size=2, max_size=3, unique=True))
    def keeps(columns, labels):
        tried.add((*columns, *labels))
        frame = pd.DataFrame({column: range(60) for column in columns})
        truth = [labels[number % len(labels)] for number in range(60)]
        try:
            data = Provider(frame, truth, task="classification").prepare(PrepareOptions(seed=1, batch_size=8))
        except DataError:
            return  # in a sentence: an empty name, labels that differ only in what is not seen
        task = Task.from_json(data.task.to_json())
        assert task == data.task
        record = dataclasses.replace(make_record(), data=data.description)
        place = pathlib.Path(tempfile.mkdtemp(dir=tmp_path))
        store = SqliteStore(place / paths.DATABASE)
        store.create_study(record)
        assert store.study().data == record.data
        store.close()
        assert [found.name for found in place.iterdir()] == [paths.DATABASE]

    keeps()
    figure(f"hostile names of columns and labels, {len(tried)} tried", "all come back, nothing else written")


@pytest.mark.parametrize("name", ODD)
def test_a_list_of_studies_never_leads_out(tmp_path, name):
    folder = keep_one_trial(tmp_path / "root", name, name, "w")
    assert folder.resolve().is_relative_to((tmp_path / "root").resolve())
