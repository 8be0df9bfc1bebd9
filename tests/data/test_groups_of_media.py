"""Groups of pictures, sequences and sound: all of a group are trained on, or all validated on."""

import numpy as np
import pytest
from scipy.io import wavfile

from model_search.data import audio_data, image_data, sequence_data
from model_search.data.later_rows import labelled_rows
from model_search.data.prepare_options import PrepareOptions
from model_search.data.sequences.sequence_files import LongColumns
from model_search.errors import DataError

ROWS = 20
OPTIONS = PrepareOptions(seed=1, batch_size=8)
PER_STEP = PrepareOptions(seed=1, batch_size=8, label_per_step=True)
KINDS = np.array(["a", "b"])[np.arange(ROWS) % 2]
PEOPLE = np.array(["ann", "bob", "eve", "joe"])[np.arange(ROWS) // 5]
PICTURES = np.repeat(np.arange(ROWS, dtype=np.uint8), 9).reshape(ROWS, 3, 3)
SEQUENCES = np.repeat(np.arange(ROWS, dtype=np.float32), 4).reshape(ROWS, 4, 1)


def people_of(rows, name):
    return set(PEOPLE[np.unique(rows.inputs[name].reshape(len(rows), -1)[:, 0]).astype(int)])


def check(data, name):
    """No person is on both sides, and the rows' groups are told in their order."""
    train, valid = people_of(data.train, name), people_of(data.valid, name)
    assert not train & valid and train | valid == set(PEOPLE) and len(valid) == 1
    assert data.description["split"]["by"] == "group"
    numbers = [
        np.unique(part.inputs[name].reshape(len(part), -1)[:, 0]).astype(int) for part in (data.train, data.valid)
    ]
    for rows, groups in zip(numbers, np.split(data.groups, [len(data.train)]), strict=True):
        assert len(rows) == len(groups) and len(set(groups)) == len(set(PEOPLE[rows]))


def test_arrays():
    check(image_data.Provider(x=PICTURES, y=KINDS, groups=PEOPLE).prepare(OPTIONS), "image")
    check(sequence_data.Provider(SEQUENCES, KINDS, groups=PEOPLE).prepare(OPTIONS), "sequence")
    by_step = np.repeat(KINDS[:, None], 4, axis=1)
    check(sequence_data.Provider(SEQUENCES, by_step, groups=PEOPLE).prepare(PER_STEP), "sequence")


def test_the_seed_chooses_the_people_to_validate_on():
    provider = sequence_data.Provider(SEQUENCES, KINDS, groups=PEOPLE)
    found = [provider.prepare(PrepareOptions(seed=seed, batch_size=8)) for seed in range(6)]
    assert len({frozenset(people_of(data.valid, "sequence")) for data in found}) > 1


def test_a_sequence_without_a_group_is_one_by_itself():
    groups = [None if row < 5 else person for row, person in enumerate(PEOPLE)]
    data = sequence_data.Provider(SEQUENCES, KINDS, groups=groups).prepare(OPTIONS)
    assert len(set(data.groups)) == 8


def write_people(folder):
    folder.mkdir()
    for row in range(ROWS):
        samples = 0.1 * row + np.sin(np.arange(800 + 10 * row))
        wavfile.write(folder / f"{KINDS[row]}_{PEOPLE[row]}_{row}.wav", 8000, (samples * 5000).astype(np.int16))
    lines = [f"flat/{path.name},{path.name[2:5]},{path.name[0]}" for path in sorted(folder.glob("*.wav"))]
    (folder.parent / "l.csv").write_text("\n".join(["path,who,kind", *lines]))


def test_columns_and_names_of_recordings(tmp_path):
    write_people(tmp_path / "flat")
    by_csv = audio_data.Provider(filename=tmp_path / "l.csv", groups="who").prepare(OPTIONS)
    patterns = {"label_pattern": "^([ab])_", "group_pattern": "_([a-z]+)_"}
    by_name = audio_data.Provider(tmp_path / "flat", **patterns).prepare(OPTIONS)
    assert by_csv.fingerprint == by_name.fingerprint
    assert (len(by_csv.train), len(by_csv.valid), len(set(by_csv.groups))) == (15, 5, 4)
    specs = {name: spec.to_json() for name, spec in by_csv.input_specs.items()}
    later = labelled_rows(tmp_path / "l.csv", {**by_csv.description, "inputs": specs})
    assert len(later) == ROWS and set(later.label) == {0, 1}  # the kind, not who stands in the second column
    assert by_csv.description["audio"]["centred"] and any("centred=False" in n for n in by_csv.description["notes"])
    assert by_csv.description["audio"]["top_db"] == 40 and any("top_db=None" in n for n in by_csv.description["notes"])
    plain = {"centred": False, "top_db": None}
    as_they_are = audio_data.Provider(filename=tmp_path / "l.csv", groups="who", **plain).prepare(OPTIONS)
    assert not {"centred", "top_db"} & set(as_they_are.description["audio"])
    assert (
        by_csv.fingerprint
        != audio_data.Provider(filename=tmp_path / "l.csv", label="kind").prepare(OPTIONS).fingerprint
    )
    with pytest.raises(DataError, match="no group column 'whom'; its columns are path, who, kind"):
        audio_data.Provider(filename=tmp_path / "l.csv", groups="whom").prepare(OPTIONS)


def test_a_column_of_a_long_file(tmp_path):
    lines = [f"{row},{step},{KINDS[row]},{PEOPLE[row]},{row}" for row in range(ROWS) for step in range(4)]
    (tmp_path / "s.csv").write_text("\n".join(["id,time,label,who,x", *lines]))
    columns = LongColumns(groups="who")
    check(sequence_data.Provider(tmp_path / "s.csv", columns=columns).prepare(OPTIONS), "sequence")
    assert LongColumns.from_json(columns.to_json()) == columns
    (tmp_path / "s.csv").write_text("\n".join(["id,time,label,who,x", *lines]).replace("0,1,a,ann", "0,1,a,bob"))
    with pytest.raises(DataError, match="sequence '0' has the groups 'ann', 'bob'; expected one for each"):
        sequence_data.Provider(tmp_path / "s.csv", columns=columns).prepare(OPTIONS)


def test_what_does_not_fit_is_refused_in_a_sentence(tmp_path):
    with pytest.raises(DataError, match="there is 1 group of rows; expected two at least"):
        sequence_data.Provider(SEQUENCES, KINDS, groups=["ann"] * ROWS).prepare(OPTIONS)
    with pytest.raises(DataError, match=r"20 sequences, groups of shape \(3,\); expected one group for each"):
        sequence_data.Provider(SEQUENCES, KINDS, groups=PEOPLE[:3]).prepare(OPTIONS)
    with pytest.raises(DataError, match="groups name a column of a CSV file, or are those of x"):
        image_data.Provider(tmp_path, groups="who")
    with pytest.raises(DataError, match="group_pattern belongs to label_pattern"):
        audio_data.Provider(tmp_path, group_pattern="_([a-z]+)_")


def test_validation_data_decide_the_split_themselves():
    data = sequence_data.Provider(SEQUENCES, KINDS, groups=PEOPLE, validation=(SEQUENCES, KINDS)).prepare(OPTIONS)
    assert len(data.train) == ROWS and data.groups is None
    assert any("groups have no effect" in note for note in data.description["notes"])
