"""The audio provider: WAV files of every kind, their features, and files that are no recordings."""

import dataclasses

import numpy as np
import pytest
from scipy.io import wavfile

from model_search.data import audio_data
from model_search.data.audio.log_mel import LogMel
from model_search.data.audio.recordings import read_wav
from model_search.data.later_rows import inputs_of, labelled_rows
from model_search.data.prepare_options import PrepareOptions
from model_search.errors import DamagedRecordError, DataError

OPTIONS = PrepareOptions(seed=1, batch_size=8)
RATE = 8000


def tone(row, rate=RATE):
    """A high or a low tone of 0.1 to 0.2 seconds, float32 [samples]."""
    seconds = np.arange(int(rate * (0.1 + 0.01 * (row % 11)))) / rate
    return (0.5 * np.sin(2 * np.pi * (400.0, 1500.0)[row % 2] * seconds + row)).astype(np.float32)


def write_tones(folder, count=20):
    """Writes tones as `folder/low|high/NUMBER.wav`; returns their paths in order."""
    paths = []
    for row in range(count):
        path = folder / ("low", "high")[row % 2] / f"{row:03d}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        wavfile.write(path, RATE, (tone(row) * 32767).astype(np.int16))
        paths.append(path)
    return paths


def as_described(data):
    return {**data.description, "inputs": {name: spec.to_json() for name, spec in data.input_specs.items()}}


def test_folders_of_classes(tmp_path):
    write_tones(tmp_path)
    data = audio_data.Provider(tmp_path).prepare(OPTIONS)
    assert data.task.classes == ("high", "low")
    assert data.input_specs["sequence"].shape == (LogMel.usual(RATE).steps(RATE // 5), 40)
    assert (len(data.train), len(data.valid)) == (16, 4)


@pytest.mark.parametrize("none", [[], np.array([])])
def test_no_recordings_have_inputs_without_rows(tmp_path, none):
    write_tones(tmp_path)
    data = audio_data.Provider(tmp_path).prepare(OPTIONS)
    found = inputs_of(none, as_described(data))
    assert found["sequence"].shape == (0, *data.input_specs["sequence"].shape) and found["lengths"].shape == (0,)


def test_csv_of_paths_and_pattern_of_names_agree(tmp_path):
    paths = write_tones(tmp_path / "flat")
    for path in paths:
        path.rename(tmp_path / "flat" / f"{path.parent.name}_{path.name}")
    files = sorted((tmp_path / "flat").glob("*.wav"))
    (tmp_path / "l.csv").write_text("path,kind\n" + "".join(f"flat/{f.name},{f.name.split('_')[0]}\n" for f in files))
    by_csv = audio_data.Provider(filename=tmp_path / "l.csv").prepare(OPTIONS)
    by_name = audio_data.Provider(tmp_path / "flat", label_pattern="([a-z]+)_").prepare(OPTIONS)
    assert by_csv.fingerprint == by_name.fingerprint
    with pytest.raises(DataError, match="no name of the 20 files has"):
        audio_data.Provider(tmp_path / "flat", label_pattern="([0-9])_of").prepare(OPTIONS)


@pytest.mark.parametrize("kind", ["uint8", "int16", "int32", "float32", "stereo"])
def test_kinds_of_samples_agree(tmp_path, kind):
    samples = tone(3)
    forms = {
        "uint8": np.round(samples * 127 + 128).astype(np.uint8),
        "int16": (samples * 32767).astype(np.int16),
        "int32": (samples * 2147483000).astype(np.int32),
        "float32": samples,
        "stereo": np.stack([samples * 2, samples * 0], axis=1),
    }
    wavfile.write(tmp_path / "a.wav", RATE, forms[kind])
    found = read_wav(tmp_path / "a.wav")
    assert found.rate == RATE
    assert np.abs(found.samples - samples).max() < (0.01 if kind == "uint8" else 1e-4)


def test_energy_lies_in_the_band_of_the_tone():
    wanted = LogMel.usual(RATE)
    low, high = (wanted.features(tone(row)).mean(axis=0).argmax() for row in (0, 1))
    centres = np.linspace(np.log1p(20 / 700), np.log1p(RATE / 2 / 700), 42)[1:-1]
    assert np.abs(700 * np.expm1(centres[[low, high]]) - [400, 1500]).max() < 80


@pytest.mark.parametrize("samples", [1, 199, 200, 201, 279, 280, 281, 1000])
def test_number_of_steps(samples):
    wanted = LogMel.usual(RATE)
    assert len(wanted.features(np.zeros(samples, np.float32))) == wanted.steps(samples)


def test_other_rates_are_resampled_with_a_note(tmp_path):
    paths = write_tones(tmp_path)
    wavfile.write(paths[0], 16000, (tone(0, 16000) * 32767).astype(np.int16))
    data = audio_data.Provider(tmp_path).prepare(OPTIONS)
    assert data.description["notes"] == ["recordings of 8000, 16000 Hz are resampled to 8000 Hz"]
    again = LogMel.usual(RATE).features(read_wav(paths[0]).at(RATE))
    assert np.abs(again - LogMel.usual(RATE).features(tone(0)))[2:-2, 2:12].max() < 0.5


def damaged(folder):
    good = folder / "good.wav"
    wavfile.write(good, RATE, (tone(1) * 32767).astype(np.int16))
    content = good.read_bytes()
    (folder / "text.wav").write_text("this is no recording")
    (folder / "empty.wav").write_bytes(b"")
    (folder / "head.wav").write_bytes(content[:30])
    (folder / "none.wav").write_bytes(content[:40] + (0).to_bytes(4, "little"))
    wavfile.write(folder / "nan.wav", RATE, np.full(900, np.nan, np.float32))
    wavfile.write(folder / "long.wav", 1, np.zeros(700, np.uint8))
    good.unlink()
    return ["text.wav", "empty.wav", "head.wav", "none.wav", "nan.wav", "long.wav"]


def test_damaged_files_are_skipped_by_name_and_refused_at_prediction(tmp_path):
    paths = write_tones(tmp_path)
    names = damaged(tmp_path / "low")
    data = audio_data.Provider(tmp_path).prepare(OPTIONS)
    (note,) = (note for note in data.description["notes"] if "left out" in note)
    assert note.startswith(f"{len(names)} of {20 + len(names)} files are left out")
    assert len(data.train) + len(data.valid) == 20
    for name in names:
        with pytest.raises(DataError, match=rf"1 of 2 recordings cannot be read: .*{name}"):
            inputs_of([paths[0], tmp_path / "low" / name], as_described(data))


def test_files_that_are_cut_off_are_named(tmp_path):
    paths = write_tones(tmp_path)
    before = audio_data.Provider(tmp_path).prepare(OPTIONS)
    paths[2].write_bytes(paths[2].read_bytes()[:1644])
    content = paths[3].read_bytes()  # as a program writes it that does not know how long it will be
    paths[3].write_bytes(content[:40] + b"\xff" * 4 + content[44:])
    paths[4].write_bytes(paths[4].read_bytes()[:-2])
    data = audio_data.Provider(tmp_path).prepare(OPTIONS)
    expected = (
        f"of 20 recordings end before their header says, and are read as far as they go: {paths[2]}: it holds 0.1 "
    )
    assert before.description["notes"] == [] and data.description["notes"] == [f"1 {expected}of 0.12 s"]
    assert len(data.train) + len(data.valid) == 20
    said = []
    inputs_of(paths, as_described(data), said.append)
    assert said == data.description["notes"]
    said.clear()
    labelled_rows((paths[2:3], ["low"]), as_described(data), said.append)
    assert said == [f"1 {expected.replace('20', '1')}of 0.12 s"]


def test_files_in_formats_that_are_not_read_are_counted_in_a_note(tmp_path):
    write_tones(tmp_path)
    folder = next(one for one in tmp_path.iterdir() if one.is_dir())
    for name in ("a.mp3", "b.mp3", "c.flac"):
        (folder / name).write_bytes(b"?")
    notes = audio_data.Provider(tmp_path).prepare(OPTIONS).description["notes"]
    assert any("in formats that are not read: 1 .flac, 2 .mp3; convert them to WAV" in note for note in notes)


def test_forms_of_later_recordings_agree(tmp_path):
    write_tones(tmp_path)
    description = as_described(audio_data.Provider(tmp_path).prepare(OPTIONS))
    files = sorted(tmp_path.glob("*/*.wav"))
    found = [inputs_of(form, description) for form in (tmp_path, files, [read_wav(file).samples for file in files])]
    for other in found[1:]:
        assert np.array_equal(other["sequence"], found[0]["sequence"])
    by_folder, by_pair = (labelled_rows(s, description) for s in (tmp_path, (files, [f.parent.name for f in files])))
    assert np.array_equal(by_folder.label, by_pair.label)
    with pytest.raises(DataError, match="divide whole numbers of 16 bits by 32768"):
        inputs_of([(tone(1) * 32767).astype(np.int16)], description)


def test_csv_files_of_paths_are_read_as_in_training_and_need_no_header(tmp_path):
    paths = [str(path.relative_to(tmp_path)) for path in write_tones(tmp_path)]
    rows = "".join(f"{number},{path},{path.split('/')[0]}\n" for number, path in enumerate(paths))
    (tmp_path / "three.csv").write_text("id,file,kind\n" + rows)
    (tmp_path / "bare.csv").write_text("".join(f"{path}\n" for path in paths))
    (tmp_path / "pairs.csv").write_text("".join(f"{path},{path.split('/')[0]}\n" for path in paths))
    provider = audio_data.Provider(filename=tmp_path / "three.csv", path_column="file", label="kind")
    data = provider.prepare(OPTIONS)
    expected = inputs_of([tmp_path / path for path in paths], as_described(data))["sequence"]
    for source in ("three.csv", "bare.csv"):
        assert np.array_equal(inputs_of(tmp_path / source, as_described(data))["sequence"], expected)
    assert audio_data.Provider(filename=tmp_path / "pairs.csv").prepare(OPTIONS).fingerprint == data.fingerprint


def test_links_out_of_a_folder_are_refused_at_prediction(tmp_path):
    root = tmp_path / "root"
    write_tones(root)
    (other,) = write_tones(tmp_path / "other", 1)
    (root / "low" / "outer.wav").symlink_to(other)
    data = audio_data.Provider(root).prepare(OPTIONS)
    assert "1 of 21 files are left out" in data.description["notes"][0]
    for read in (inputs_of, labelled_rows):
        with pytest.raises(DataError, match=r"1 of 21 recordings cannot be read: .*outer\.wav: it is a link out of"):
            read(root, as_described(data))


def test_a_linked_folder_is_left_out_of_predictions_with_a_note(tmp_path):
    root = tmp_path / "root"
    write_tones(root)
    write_tones(tmp_path / "other", 1)
    about = as_described(audio_data.Provider(root).prepare(OPTIONS))
    (root / "low" / "more").symlink_to(tmp_path / "other")
    said = []
    assert len(inputs_of(root, about, said.append)["sequence"]) == 20
    assert len(labelled_rows(root, about, said.append)) == 20
    assert said[0] == said[1] and said[0].startswith(f"1 link to a folder is left out: {root}/low/more: it is a link")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({}, "expected input_dir"),
        ({"input_dir": "there-is-no-such"}, "there is no such folder"),
        ({"input_dir": ".", "label_pattern": "("}, "no regular expression"),
        ({"input_dir": ".", "label_pattern": "a"}, "expected a group"),
        ({"filename": "a.csv", "label_pattern": "(a)"}, "a CSV file has its own labels"),
    ],
)
def test_mistakes_become_sentences(arguments, sentence):
    with pytest.raises(DataError, match=sentence):
        audio_data.Provider(**arguments).prepare(OPTIONS)


def write_lengths(folder, lengths):
    for row, seconds in enumerate(lengths):
        path = folder / ("low", "high")[row % 2] / f"{row:03d}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        times = np.arange(round(RATE * seconds)) / RATE
        wavfile.write(path, RATE, (np.sin(2 * np.pi * 500 * times) * 20000).astype(np.int16))


def test_no_more_than_so_many_seconds_are_read(tmp_path):
    write_lengths(tmp_path, [0.1] * 78 + [0.5, 0.3])
    whole = audio_data.Provider(tmp_path).prepare(OPTIONS)
    assert whole.input_specs["sequence"].shape[0] == LogMel.usual(RATE).steps(RATE // 2)
    (note,) = [note for note in whole.description["notes"] if "max_seconds" in note]
    assert "the longest recording lasts 0.5" in note and "times faster" in note
    data = audio_data.Provider(tmp_path, max_seconds=0.2).prepare(OPTIONS)
    steps = LogMel.usual(RATE).steps(RATE // 5)
    assert data.input_specs["sequence"].shape[0] == steps
    assert "2 of 80 recordings last 0.2 s or longer; no more is read" in data.description["notes"]
    later = inputs_of(tmp_path / "low" / "078.wav", as_described(data))
    assert later["sequence"].shape[1] == steps == later["lengths"][0]
    assert len(labelled_rows(tmp_path, as_described(data)).inputs["sequence"][0]) == steps
    with pytest.raises(DataError, match="max_seconds is 0; expected a number above 0"):
        audio_data.Provider(tmp_path, max_seconds=0)


def test_a_damaged_limit_is_said(tmp_path):
    write_lengths(tmp_path, [0.1] * 20)
    described = as_described(audio_data.Provider(tmp_path, max_seconds=0.2).prepare(OPTIONS))
    described["audio"]["most_steps"] = "all"
    with pytest.raises(DamagedRecordError, match="most_steps of the features of recordings is damaged"):
        inputs_of(tmp_path / "low", described)


def test_centred_features_have_no_mean_and_do_not_depend_on_loudness(tmp_path):
    samples = tone(3)
    wanted = dataclasses.replace(LogMel.usual(RATE), centred=True)
    found = wanted.features(samples)
    assert np.abs(found.mean(axis=0)).max() < 1e-5
    np.testing.assert_allclose(
        found, LogMel.usual(RATE).features(samples) - LogMel.usual(RATE).features(samples).mean(0)
    )
    assert LogMel.from_json(wanted.to_json()) == wanted != LogMel.usual(RATE)
    assert set(LogMel.usual(RATE).to_json()) == {"rate", "frame", "hop", "bands"}  # as before
    write_tones(tmp_path)
    data = audio_data.Provider(tmp_path, centred=True).prepare(OPTIONS)
    first = data.train.inputs["sequence"][0][: data.train.inputs["lengths"][0]]
    assert np.abs(first.mean(axis=0)).max() < 1e-4
    later = inputs_of(tmp_path, as_described(data))["sequence"]
    assert np.abs(later.sum(axis=1)).max() < 1e-2  # padding is 0


def test_what_is_much_softer_than_the_loudest_moment_is_as_soft_as_the_range_says(tmp_path):
    samples = np.concatenate([tone(3), np.random.default_rng(0).normal(scale=1e-3, size=2000).astype(np.float32)])
    plain, wanted = LogMel.usual(RATE), dataclasses.replace(LogMel.usual(RATE), top_db=20)
    softest = plain.features(samples).max() - 2 * np.log(10)  # 20 dB are a hundredth of the energy
    assert (plain.features(samples) < softest).any()
    np.testing.assert_allclose(wanted.features(samples), np.maximum(plain.features(samples), softest), rtol=1e-5)
    assert LogMel.from_json(wanted.to_json()) == wanted
    write_tones(tmp_path)
    with_range = audio_data.Provider(tmp_path, top_db=20).prepare(OPTIONS)
    assert with_range.description["audio"]["top_db"] == 20.0
    assert with_range.fingerprint != audio_data.Provider(tmp_path).prepare(OPTIONS).fingerprint


@pytest.mark.parametrize("top_db", [0, -3, float("inf"), float("nan"), True, "loud"])
def test_a_range_is_a_number_of_decibels(tmp_path, top_db):
    with pytest.raises(DataError, match=r"top_db is .*; expected decibels above 0, 'auto' or None"):
        audio_data.Provider(tmp_path, top_db=top_db)
