"""The sequence provider: every form of sequences and labels, and the sentences that mistakes become."""

import dataclasses
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_sequences import OPTIONS, PER_STEP, as_described, long_csv, made

from model_search.data import sequence_data
from model_search.data.later_rows import inputs_of, labelled_rows, steps_of
from model_search.data.sequences.padded import padded
from model_search.data.task import TaskKind
from model_search.errors import DataError


def test_ragged_sequences():
    x, y = made()
    data = sequence_data.Provider(x, y).prepare(OPTIONS)
    assert data.task.classes == ("high", "low")
    assert data.input_specs["sequence"].shape == (7, 2)
    assert (len(data.train), len(data.valid)) == (32, 8)
    steps = np.concatenate([one[:length] for one, length in zip(*data.train.inputs.values(), strict=True)])
    assert np.allclose(data.input_specs["sequence"].mean, steps.mean(axis=0), atol=1e-6)
    assert np.allclose(data.input_specs["sequence"].deviation, steps.std(axis=0), atol=1e-6)


def test_padded_array_gives_the_same_as_its_ragged_form():
    x, y = made()
    whole = padded(x)
    junk = np.where(whole.valid[..., None], whole.values, 77.0)
    by_list = sequence_data.Provider(x, y).prepare(OPTIONS)
    by_array = sequence_data.Provider(junk, y, whole.lengths).prepare(OPTIONS)
    assert by_list.fingerprint == by_array.fingerprint


def test_label_for_each_step():
    x, _ = made()
    y = [np.arange(len(one)) % 3 for one in x]
    data = sequence_data.Provider(x, y).prepare(PER_STEP)
    assert sequence_data.Provider(x, y).number_of_classes() == 3
    valid = np.arange(7) < data.train.inputs["lengths"][:, None]
    assert np.array_equal(data.train.weight > 0, valid)
    assert np.array_equal(data.train.label, np.where(valid, np.arange(7) % 3, 0))


def test_more_labels_than_steps_are_refused():
    x, _ = made()
    y = [np.arange(len(one)) % 3 for one in x]
    whole = padded(x)
    about = as_described(sequence_data.Provider(x, y).prepare(PER_STEP))
    shifted, equal = [np.append(one, 0) for one in y], whole.values[:, :2]
    said = r"sequence 1 has 2 steps and {} labels; expected one for each step"
    for read, labels in (
        (lambda: sequence_data.Provider(x, shifted).prepare(PER_STEP), 3),
        (lambda: sequence_data.Provider(equal, np.zeros((40, 3), int)).prepare(PER_STEP), 3),
        (lambda: sequence_data.Provider(x, y, validation=(x, shifted)).prepare(PER_STEP), 3),
        (lambda: labelled_rows((x, shifted), about), 3),
        (lambda: labelled_rows((x[:1], [[0, 1, 2]]), about), 3),
        (lambda: labelled_rows((equal, [[0] * 7] * 40), about), 7),
        (lambda: labelled_rows((equal, np.zeros((40, 7), int)), about), 7),
    ):
        with pytest.raises(DataError, match=said.format(labels)):
            read()
    weights = [np.ones(len(one) + 1) for one in x]
    with pytest.raises(DataError, match="sequence 1 has 2 steps and 3 weights"):
        sequence_data.Provider(x, y, weights=weights).prepare(PER_STEP)


def test_labels_may_be_padded():
    x, _ = made()
    y = [np.arange(len(one)) % 3 for one in x]
    expected = sequence_data.Provider(x, y).prepare(PER_STEP)
    about = as_described(expected)
    wide = np.array([np.append(one, [0] * (9 - len(one))) for one in y])
    missing = [[*one, None, np.nan] for one in y]
    for labels in (wide, wide[:, :7], wide[:, :7].tolist(), missing):
        found = sequence_data.Provider(x, labels).prepare(PER_STEP)
        assert np.array_equal(found.train.label, expected.train.label)
        later = labelled_rows((x[:9], labels[:9]), about)
        assert np.array_equal(later.label, labelled_rows((x[:9], y[:9]), about).label)
    short = padded(x[:1]), np.array([[0, 1, 2]])
    room = np.concatenate([short[0].values, np.zeros((1, 1, 2))], axis=1)
    assert labelled_rows((room, short[1], short[0].lengths), about).weight.sum() == 2


@pytest.mark.parametrize("padding", [[0] * 5, [2] * 7, [""] * 5, ["nan", "", None]])
def test_labels_of_one_sequence_may_be_padded_as_those_of_all_are(padding):
    x, _ = made()
    is_text = isinstance(padding[0], str)
    y = [[("a", "b", "c")[step % 3] if is_text else step % 3 for step in range(len(one))] for one in x]
    about = as_described(sequence_data.Provider(x, y).prepare(PER_STEP))
    plain = labelled_rows((x[:1], y[:1]), about)
    said = []
    for labels in ([[*y[0], *padding]], np.array([[*y[0], *padding]], dtype=object)):
        found = labelled_rows((x[:1], labels), about, said.append)
        assert np.array_equal(found.label, plain.label) and np.array_equal(found.weight, plain.weight)
    sentence = f"the labels behind the 2 steps of the only sequence are all {padding[-1]} and count as padding"
    assert said == ([] if is_text else [sentence] * 2)
    for more in ([0, 0, 0, 0, 1], [0] * 4, [1]):  # real labels, or fewer than the longest sequence has
        with pytest.raises(DataError, match=r"sequence 1 has 2 steps and \d labels; expected one for each step"):
            labelled_rows((x[:1], [[*y[0], *more]]), about)


def test_a_sequence_may_have_no_labels_of_steps():
    x, _ = made()
    y = [None, *(list(np.arange(len(one)) % 3) for one in x[1:])]
    provider = sequence_data.Provider(x, y)
    assert provider.number_of_classes() == 3
    data = provider.prepare(PER_STEP)
    assert data.description["notes"] == ["1 sequences have no label and are left out"]
    assert labelled_rows((x, y), as_described(data)).label.shape[0] == 39


@pytest.mark.parametrize(
    ("label", "shape"), [(lambda steps: np.zeros((steps, 2)), r"\(3, 2\)"), (lambda steps: 1.5, r"\(\)")]
)
def test_several_targets_a_step_are_refused(label, shape):
    x, _ = made()
    y = [np.arange(len(one)) % 3 for one in x]
    y[1] = label(len(x[1]))
    said = f"the labels of sequence 2 have the shape {shape}; expected one dimension, .* need an input_fn"
    with pytest.raises(DataError, match=said):
        sequence_data.Provider(x, y).prepare(PER_STEP)


def test_numbers_to_predict_for_each_step_are_scaled_by_the_valid_ones():
    x, _ = made()
    data = sequence_data.Provider(x, [one[:, 0] * 100.0 + 7 for one in x]).prepare(PER_STEP)
    assert data.task.kind is TaskKind.REGRESSION
    pairs = data.train.label[data.train.weight > 0]
    assert pairs.shape[1] == 1
    assert abs(pairs.mean()) < 1e-5
    assert abs(pairs.std() - 1) < 1e-5


def test_sequences_without_a_label_are_left_out_with_a_note():
    x, y = made()
    y = y.astype(object)
    y[:3] = None
    data = sequence_data.Provider(x, y).prepare(OPTIONS)
    assert data.description["notes"] == ["3 sequences have no label and are left out"]
    assert len(data.train) + len(data.valid) == 37


TS = """# a comment
@problemName made
@univariate false
@classLabel true a b
@data
"""


def test_ts_file(tmp_path):
    x, y = made()
    text = "".join(
        ":".join(",".join(map(str, one[:, channel])) for channel in range(2)) + f":{label}\n"
        for one, label in zip(x, y, strict=True)
    )
    (tmp_path / "a.ts").write_text(TS + text)
    assert (
        sequence_data.Provider(tmp_path / "a.ts").prepare(OPTIONS).fingerprint
        == sequence_data.Provider(x, y).prepare(OPTIONS).fingerprint
    )


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("1,2:3,4:a\n1,2:3,4,5:b\n", "line 7: the channels have different numbers of steps"),
        ("1,?:3,4:a\n", "line 6: could not convert string"),
        ("", "holds no sequences"),
    ],
)
def test_damaged_ts_file(tmp_path, text, sentence):
    (tmp_path / "a.ts").write_text(TS + text)
    with pytest.raises(DataError, match=sentence):
        sequence_data.Provider(tmp_path / "a.ts").prepare(OPTIONS)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda x, y: (x, y[:-1]), "40 sequences, 39 labels"),
        (lambda x, y: ([*x[:-1], x[0][:, :1]], y), "sequence 40 has 1 channels, sequence 1 has 2"),
        (lambda x, y: ([*x[:-1], x[0][:0]], y), "sequence 40 is float32 of shape"),
        (lambda x, y: ([*x[:-1], x[0] * np.nan], y), "1 sequences hold missing or infinite numbers"),
        (lambda x, y: ([*x[:-1], [[1, 2], [3]]], y), "sequence 40 has steps of different widths"),
        (lambda x, y: (np.zeros(40), y), "received sequences of shape"),
        (lambda x, y: (x, None), "y is missing"),
        (lambda x, y: (x[:6], y[:6]), "there are 6 sequences with a label"),
        (lambda x, y: (x, [np.zeros(len(one)) for one in x]), "received a label for each step"),
    ],
)
def test_mistakes_become_sentences(change, sentence):
    with pytest.raises(DataError, match=sentence):
        sequence_data.Provider(*change(*made())).prepare(OPTIONS)


@pytest.mark.parametrize("lengths", [np.full(40, 8), np.full(40, 0), np.full(40, 1.5), np.full(39, 1)])
def test_lengths_that_do_not_fit(lengths):
    with pytest.raises(DataError, match="length"):
        sequence_data.Provider(np.zeros((40, 7, 2)), np.arange(40) % 2, lengths).prepare(OPTIONS)


def test_validation_data_may_be_longer():
    x, y = made()
    longer = [np.concatenate([one, one, one]) for one in x[:10]]
    data = sequence_data.Provider(x, y, validation=(longer, y[:10])).prepare(OPTIONS)
    assert data.input_specs["sequence"].shape == (21, 2)
    assert (len(data.train), len(data.valid)) == (40, 10)


def test_forms_of_later_sequences_agree():
    x, y = made()
    description = as_described(sequence_data.Provider(x, y).prepare(OPTIONS))
    whole = padded(x[:5])
    found = [
        inputs_of(form, description)
        for form in (x[:5], {"sequence": whole.values, "lengths": whole.lengths}, {"sequence": x[:5]})
    ]
    for other in found:
        assert np.array_equal(other["sequence"], found[0]["sequence"])
        assert np.array_equal(other["lengths"], found[0]["lengths"])
    with pytest.raises(DataError, match="received sequences of 3 channels; expected 2"):
        inputs_of([np.zeros((4, 3))], description)


def test_one_sequence_is_refused_and_not_read_as_its_steps():
    x, y = made(channels=1)
    description = as_described(sequence_data.Provider(x, y).prepare(OPTIONS))
    for source in (x[4], {"sequence": x[4]}):
        with pytest.raises(DataError, match=r"received \(6, 1\).* up to 7 steps: give \[sequence\]"):
            inputs_of(source, description)
    with pytest.raises(DataError, match=r"give \[sequence\]"):
        labelled_rows((x[4], y[:6]), description)
    assert inputs_of([x[4]], description)["lengths"].tolist() == [6]
    assert inputs_of(x[4][..., None], description)["lengths"].tolist() == [1] * 6
    assert inputs_of({"sequence": x[4], "lengths": [1] * 6}, description)["lengths"].tolist() == [1] * 6
    short = as_described(sequence_data.Provider(np.arange(40.0)[:, None], y).prepare(OPTIONS))
    assert len(inputs_of(np.arange(5.0)[:, None], short)["sequence"]) == 5


def test_lengths_beside_labels_count_in_an_evaluation():
    x, y = made()
    description = as_described(sequence_data.Provider(x, y).prepare(OPTIONS))
    whole = padded(x)
    ragged, given = labelled_rows((x, y), description), labelled_rows((whole.values, y, whole.lengths), description)
    for name in ("sequence", "lengths"):
        assert np.array_equal(ragged.inputs[name], given.inputs[name])
    with pytest.raises(DataError, match="lengths beside a dict"):
        labelled_rows(({"sequence": whole.values}, y, whole.lengths), description)


def test_steps_of_zeros_that_count_are_said():
    x, y = made()
    whole, notes = padded(x), []
    shorter = int((whole.lengths < whole.values.shape[1]).sum())
    sentence = (
        f"{shorter} of {len(x)} sequences end in a step of zeros, which counts as valid; give lengths if it is padding"
    )
    data = sequence_data.Provider(whole.values, y).prepare(OPTIONS)
    assert sentence in data.description["notes"]
    inputs_of(whole.values, as_described(data), notes.append)
    labelled_rows((whole.values, y), as_described(data), notes.append)
    assert notes == [sentence] * 2
    inputs_of({"sequence": whole.values, "lengths": whole.lengths}, as_described(data), notes.append)
    assert len(notes) == 2
    assert sequence_data.Provider(whole.values, y, whole.lengths).prepare(OPTIONS).description["notes"] == []


def test_numbers_whose_sums_are_no_float32_are_clipped_with_a_note(tmp_path):
    x, y = made()
    x[3] = x[3].copy()
    x[3][0, 1] = -2e38
    given = [one.copy() for one in x]
    data = sequence_data.Provider(x, y).prepare(OPTIONS)
    sentence = "1 sequences hold numbers beyond 1e+30, read as 1e+30"
    assert sentence in data.description["notes"]
    assert all(np.array_equal(one, before) for one, before in zip(x, given, strict=True))  # the user's own stay
    whole = padded(x)
    assert whole.values[3, 0, 1] == np.float32(-1e30) and whole.clipped == 1
    array = np.zeros((len(x), 7, 2))
    for row, one in enumerate(x):
        array[row, : len(one)] = one
    described = as_described(data)
    forms = (x, {"sequence": array, "lengths": whole.lengths}, long_csv(tmp_path / "a.csv", x, y, range))
    for form in forms:
        notes = []
        assert np.array_equal(inputs_of(form, described, notes.append)["sequence"], whole.values)
        assert notes == [sentence]
    for form in ((x, y), (array, y, whole.lengths), forms[2]):
        notes = []
        assert np.array_equal(labelled_rows(form, described, notes.append).inputs["sequence"], whole.values)
        assert notes == [sentence]
    assert padded(array, np.ones(len(x), int)).clipped == 1
    array[3, 0] = 0.0
    array[3, -1] = 9e37  # a step that is padding
    assert padded(array, whole.lengths).clipped == 0


@pytest.mark.parametrize("none", [[], np.array([]), np.zeros((0, 5, 2)), {"sequence": np.zeros((0, 5, 2))}])
@pytest.mark.parametrize("options", [OPTIONS, PER_STEP])
def test_no_sequences_have_inputs_without_rows(none, options):
    x, y = made()
    y = y if options is OPTIONS else [np.arange(len(one)) % 3 for one in x]
    described = as_described(sequence_data.Provider(x, y).prepare(options))
    for form in (none, {"sequence": none["sequence"] if isinstance(none, dict) else none, "lengths": []}):
        found = inputs_of(form, described)
        assert found["sequence"].shape == (0, 7, 2) and found["lengths"].shape == (0,)
        assert options is OPTIONS or steps_of(found, described).shape == (0, 7)


def test_a_search_of_no_sequences_is_refused():
    with pytest.raises(DataError, match="every row lacks its label"):
        sequence_data.Provider(np.zeros((0, 5, 2)), []).prepare(OPTIONS)
    with pytest.raises(DataError, match="expected a list of sequences"):
        sequence_data.Provider([], []).prepare(OPTIONS)


def test_later_sequences_may_be_longer():
    x, _ = made()
    y = [np.arange(len(one)) % 2 for one in x]
    description = as_described(sequence_data.Provider(x, y).prepare(PER_STEP))
    longer = [np.zeros((12, 2)), np.zeros((3, 2))]
    inputs = inputs_of(longer, description)
    assert inputs["sequence"].shape == (2, 12, 2)
    assert steps_of(inputs, description).sum(axis=1).tolist() == [12, 3]
    rows = labelled_rows((longer, [np.arange(12) % 2, np.arange(3) % 2]), description)
    assert rows.weight.sum(axis=1).tolist() == [12, 3]


def test_one_long_sequence_is_said():
    x, y = made()
    assert sequence_data.Provider(x, y).prepare(OPTIONS).description["notes"] == []
    longer = [*x[:-1], np.ones((700, 2))]
    (note,) = sequence_data.Provider(longer, y).prepare(OPTIONS).description["notes"]
    assert note.startswith("the longest sequence has 700 steps, 97% of all have at most 7, and each costs as much time")
    (note,) = sequence_data.Provider(x, y, validation=(longer[-1:], y[:1])).prepare(OPTIONS).description["notes"]
    assert note.startswith("the longest sequence has 700 steps")


def test_sequences_that_memory_does_not_hold_are_refused_by_the_longest():
    x, y = made(1000, 1)
    endless = np.broadcast_to(np.float32(1), (10**9, 1))
    sentence = (
        r"1,000 sequences, padded to 1,000,000,000 steps of 1 channels, need 3,725.3 GiB .* half of what is free; "
    )
    with pytest.raises(DataError, match=sentence + "sequence 8 has 1,000,000,000 steps"):
        sequence_data.Provider([*x[:7], endless, *x[8:]], y).prepare(OPTIONS)
    with pytest.raises(DataError, match="give fewer sequences at a time"):
        padded(x).with_steps(10**9)


def test_padding_makes_few_copies():
    """The padded sequences, and those to train on and to validate on, which are rows of them: two copies in all."""
    x = [np.full((5, 1), row, np.float32) for row in range(100)]
    x[7] = np.ones((20_000, 1), np.float32)
    needed = 4 * 100 * 20_000
    array, lengths = padded(x).values.copy(), [len(one) for one in x]
    for source in (x, None), (array, lengths):
        provider = sequence_data.Provider(source[0], np.arange(100) % 2, source[1])
        tracemalloc.start()
        try:
            provider.prepare(OPTIONS)
            assert tracemalloc.get_traced_memory()[1] < 3 * needed
        finally:
            tracemalloc.stop()
    assert np.array_equal(array, padded(x).values)


def test_channels_of_small_numbers_vary_and_those_of_earlier_studies_are_constant():
    rng = np.random.default_rng(0)
    x = np.stack(
        [rng.normal(size=(40, 5)) * scale for scale in (1e-12, 1e-7, 1.0, 1e25)] + [np.full((40, 5), 1e-9)], -1
    )
    provider = sequence_data.Provider(x, np.arange(40) % 2)
    now, before = (
        np.array(provider.prepare(dataclasses.replace(OPTIONS, reading_rules=rules)).input_specs["sequence"].deviation)
        for rules in (5, 4)
    )
    np.testing.assert_allclose(now, [1e-12, 1e-7, 1.0, 1e25, 1.0], rtol=0.2)
    np.testing.assert_allclose(before, [1.0, 1.0, 1.0, 1e25, 1.0], rtol=0.2)
    assert now[2] == before[2]


def test_a_padded_array_of_many_rows_is_read_as_one_of_few():
    generator = np.random.default_rng(0)
    array, lengths = generator.normal(size=(50, 200_000, 1)), generator.integers(1, 200_001, 50)
    array[3, lengths[3] :] = np.nan
    found = padded(array, lengths)
    assert np.array_equal(found.values, np.where(found.valid[..., None], array, 0).astype(np.float32))
    array[[31, 45], [2, 0], 0] = np.nan, np.inf
    lengths[[31, 45]] = 9
    with pytest.raises(DataError, match=r"2 sequences hold .* \(the first is number 32, at step 3\)"):
        padded(array, lengths)
    with pytest.raises(DataError, match=r"2 sequences hold .* \(the first is number 1, at step 3\)"):
        padded([array[31, :9], array[45, :9]])


@settings(deadline=None)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=8), st.integers(1, 3))
def test_padding_keeps_every_step(lengths, channels):
    generator = np.random.default_rng(0)
    x = [generator.normal(size=(length, channels)).astype(np.float32) for length in lengths]
    found = padded(x)
    assert found.lengths.tolist() == lengths
    for values, one in zip(found.values, x, strict=True):
        assert np.array_equal(values[: len(one)], one)
        assert not values[len(one) :].any()


def test_an_infinite_number_among_labels_of_steps_is_a_missing_one(tmp_path):
    x, _ = made()
    steps = [(row, step, one) for row, one in enumerate(x) for step in range(len(one))]
    labels = {(row, step): "inf" if row == step == 1 else row + step / 7 for row, step, _ in steps}
    lines = [f"s{row},{step},{labels[row, step]},{one[step, 0]}\n" for row, step, one in steps]
    (tmp_path / "a.csv").write_text("id,time,label,v\n" + "".join(lines))
    data = sequence_data.Provider(tmp_path / "a.csv").prepare(PER_STEP)
    assert data.task.kind is TaskKind.REGRESSION
    found = np.concatenate([data.train.weight, data.valid.weight])
    assert int((found > 0).sum()) == len(steps) - 1
    before = dataclasses.replace(PER_STEP, reading_rules=2)
    assert sequence_data.Provider(tmp_path / "a.csv").prepare(before).task.kind is TaskKind.CLASSIFICATION


def test_labels_of_steps_may_be_padded_wider_than_a_part_of_the_sequences():
    x, _ = made()
    width = max(map(len, x)) + 2
    labels = np.zeros((len(x), width), int)
    labels[:, ::2] = 1
    about = sequence_data.Provider(x, labels).prepare(PER_STEP).description
    lengths = [len(one) for one in x]
    several = next(row for row in range(1, len(x)) if lengths[row] != lengths[0])
    rows = [0, several]
    for padded_labels in (labels[rows], labels[rows].tolist()):
        found = labelled_rows(([x[row] for row in rows], padded_labels), about)
        assert int((found.weight > 0).sum()) == sum(lengths[row] for row in rows)
