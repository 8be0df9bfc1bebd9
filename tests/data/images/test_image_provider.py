"""The image provider: what it reads, what it chooses from the files, and files that are no pictures."""

import os
import re

import numpy as np
import pytest
from picture_makers import digits, hostile_files, huge_png, write_digits
from PIL import Image

from model_search.data import image_data
from model_search.data.images.later_pictures import labelled_pictures, pictures_of
from model_search.data.prepare_options import PrepareOptions
from model_search.data.task import TaskKind
from model_search.errors import DataError
from model_search.finish.large_files import files_of

OPTIONS = PrepareOptions(seed=1, batch_size=8)


def test_folders_of_classes(tmp_path):
    write_digits(tmp_path)
    data = image_data.Provider(tmp_path).prepare(OPTIONS)
    assert data.task.classes == ("digit_0", "digit_1", "digit_2")
    assert data.input_specs["image"].shape == (8, 8, 1)
    assert data.train.inputs["image"].dtype == np.uint8
    assert (len(data.train), len(data.valid)) == (72, 18)
    assert np.bincount(data.valid.label).tolist() == [6, 6, 6]


@pytest.mark.parametrize("none", [[], (), np.array([]), np.empty((0, 5, 5, 3), np.uint8), {"image": []}])
def test_no_pictures_have_inputs_without_rows(tmp_path, none):
    write_digits(tmp_path)
    description = image_data.Provider(tmp_path).prepare(OPTIONS).description
    found = pictures_of(none, description)["image"]
    assert found.shape == (0, 8, 8, 1) and found.dtype == np.uint8
    for wrong in (b"", None):
        with pytest.raises(DataError, match="expected a folder"):
            pictures_of(wrong, description)


def test_split_follows_the_seed_and_the_fraction(tmp_path):
    write_digits(tmp_path)
    one = image_data.Provider(tmp_path, eval_fraction=0.5).prepare(OPTIONS)
    again = image_data.Provider(tmp_path, eval_fraction=0.5).prepare(OPTIONS)
    other = image_data.Provider(tmp_path, eval_fraction=0.5).prepare(PrepareOptions(seed=2, batch_size=8))
    assert len(one.valid) == 46  # half of 31, 29 and 30
    assert one.fingerprint == again.fingerprint != other.fingerprint


def test_train_valid_and_test_folders(tmp_path):
    write_digits(tmp_path / "train", 60)
    write_digits(tmp_path / "valid", 30)
    write_digits(tmp_path / "test", 15)
    data = image_data.Provider(tmp_path).prepare(OPTIONS)
    assert (len(data.train), len(data.valid)) == (60, 30)
    assert any("left alone" in note for note in data.description["notes"])


def test_foreign_folder_beside_train(tmp_path):
    write_digits(tmp_path / "train", 30)
    write_digits(tmp_path / "extra", 30)
    with pytest.raises(DataError, match="beside it 'extra'"):
        image_data.Provider(tmp_path).prepare(OPTIONS)


def test_csv_of_paths_and_numbers(tmp_path):
    paths = write_digits(tmp_path / "pictures", 40)
    lines = [f"{path.relative_to(tmp_path)},{number / 7:.3f}\n" for number, path in enumerate(paths)]
    (tmp_path / "labels.csv").write_text("file,angle\n" + "".join(lines))
    provider = image_data.Provider(filename=tmp_path / "labels.csv")
    data = provider.prepare(OPTIONS)
    assert (data.task.kind, provider.number_of_classes()) == (TaskKind.REGRESSION, 1)
    assert len(data.train) + len(data.valid) == 40


def test_arrays(tmp_path):
    pictures, labels = digits(60)
    data = image_data.Provider(x=pictures, y=labels, validation=(pictures[:9], labels[:9])).prepare(OPTIONS)
    assert data.task.classes == (0, 1, 2)
    assert np.array_equal(data.valid.inputs["image"][..., 0], pictures[:9])


@pytest.mark.parametrize(
    ("mode", "channels"), [("L", 1), ("RGB", 3), ("RGBA", 4), ("P", 3), ("1", 1), ("I;16", 1), ("LA", 4)]
)
def test_channels_are_chosen_from_the_files(tmp_path, mode, channels):
    for path in write_digits(tmp_path, 30):
        picture = Image.open(path)
        wide = Image.fromarray(np.asarray(picture, np.uint16) * 257) if mode == "I;16" else picture.convert(mode)
        wide.save(path)
    data = image_data.Provider(tmp_path).prepare(OPTIONS)
    assert data.input_specs["image"].shape == (8, 8, channels)
    if mode == "I;16":
        expected = {picture.tobytes() for picture in digits(30)[0]}
        assert {picture.tobytes() for picture in data.train.inputs["image"]} <= expected


def test_mixed_sizes_are_stretched_to_the_median(tmp_path):
    for number, path in enumerate(write_digits(tmp_path, 30)):
        Image.open(path).resize(((10, 6), (20, 12), (300, 200))[number % 3]).save(path)
    data = image_data.Provider(tmp_path).prepare(OPTIONS)
    assert data.input_specs["image"].shape == (12, 20, 1)
    assert any("3 different sizes are stretched to 12 x 20" in note for note in data.description["notes"])
    assert image_data.Provider(tmp_path, 9, 7).prepare(OPTIONS).input_specs["image"].shape == (7, 9, 1)


def test_large_pictures_are_capped(tmp_path):
    for path in write_digits(tmp_path, 30):
        Image.open(path).resize((640, 320)).save(path)
    assert image_data.Provider(tmp_path).prepare(OPTIONS).input_specs["image"].shape == (112, 224, 1)


def test_hostile_files_are_skipped_by_name(tmp_path):
    root = tmp_path / "root"
    write_digits(root, 30)
    reasons = hostile_files(root / "digit_1")
    data = image_data.Provider(root).prepare(OPTIONS)
    note = next(note for note in data.description["notes"] if "left out" in note)
    assert note.startswith(f"{len(reasons)} of 36 files are left out")
    assert len(data.train) + len(data.valid) == 30


@pytest.mark.parametrize("name", ["huge.png", "text.png", "empty.png", "truncated.png", "animated.gif"])
def test_hostile_file_is_refused_by_name_at_prediction(tmp_path, name):
    root = tmp_path / "root"
    paths = write_digits(root, 30)
    data = image_data.Provider(root).prepare(OPTIONS)
    reason = hostile_files(root / "hostile")[name]
    with pytest.raises(DataError, match=rf"1 of 2 pictures cannot be read: .*{name}: .*{reason}"):
        pictures_of([paths[0], root / "hostile" / name], data.description)


def test_only_damaged_files(tmp_path):
    for number in range(12):
        (tmp_path / f"c{number % 2}").mkdir(exist_ok=True)
        huge_png(tmp_path / f"c{number % 2}" / f"{number}.png")
    with pytest.raises(DataError, match="none of the 12 files is a picture"):
        image_data.Provider(tmp_path).prepare(OPTIONS)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({}, "received no pictures; expected one of input_dir, filename and x"),
        ({"input_dir": "there-is-no-such"}, "there is no such folder"),
        ({"input_dir": ".", "eval_fraction": 1.5}, "eval_fraction is 1.5"),
        ({"x": np.zeros((12, 8, 8))}, "x and y belong together"),
        (
            {"x": [np.zeros((8, 8)), np.zeros((5, 8))], "y": [0, 1]},
            r"different shapes, such as \(8, 8\) and \(5, 8\); exp",
        ),
        ({"x": [[[0, 0], [0]]] * 12, "y": np.zeros(12)}, "received pictures of different shapes; expected one array"),
        ({"x": np.zeros((12, 8)), "y": np.zeros(12)}, "received pictures of shape"),
        ({"x": np.full((12, 8, 8), 0.5), "y": np.zeros(12)}, "multiply pictures from 0 to 1 by 255"),
        ({"x": np.zeros((12, 8, 8)), "y": np.arange(11)}, r"12 pictures, labels of shape \(11,\)"),
        ({"x": np.zeros((12, 8, 8)), "y": np.arange(12), "image_width": 0}, "image_width 0"),
    ],
)
def test_mistakes_become_sentences(arguments, sentence):
    with pytest.raises(DataError, match=sentence):
        image_data.Provider(**arguments).prepare(OPTIONS)


def test_folder_without_classes(tmp_path):
    Image.fromarray(digits(1)[0][0]).save(tmp_path / "a.png")
    with pytest.raises(DataError, match="holds no pictures in folders of classes"):
        image_data.Provider(tmp_path).prepare(OPTIONS)


def test_forms_of_later_pictures_agree(tmp_path):
    paths = write_digits(tmp_path, 30)
    description = image_data.Provider(tmp_path).prepare(OPTIONS).description
    pictures = np.stack([np.asarray(Image.open(path)) for path in sorted(paths)])
    ordered = sorted(paths)
    forms = [
        tmp_path,
        [str(path) for path in ordered],
        pictures,
        pictures.astype(np.float64),
        {"image": pictures[..., None]},
        list(pictures),
        [path.read_bytes() for path in ordered],
    ]
    found = [pictures_of(form, description)["image"] for form in forms]
    for other in found[1:]:
        assert np.array_equal(found[0], other)
    assert pictures_of(ordered[3], description)["image"].shape == (1, 8, 8, 1)


def test_labelled_pictures_of_folders_and_csv(tmp_path):
    paths = write_digits(tmp_path / "p", 30)
    (tmp_path / "l.csv").write_text(
        "file,kind\n" + "".join(f"p/{p.parent.name}/{p.name},{p.parent.name}\n" for p in paths)
    )
    description = image_data.Provider(tmp_path / "p").prepare(OPTIONS).description
    by_folder, by_csv = (labelled_pictures(source, description) for source in (tmp_path / "p", tmp_path / "l.csv"))
    assert sorted(by_folder[1].values) == sorted(by_csv[1].values)
    with pytest.raises(DataError, match="no column of labels"):
        (tmp_path / "bare.csv").write_text("file\n" + "".join(f"p/{p.parent.name}/{p.name}\n" for p in paths))
        labelled_pictures(tmp_path / "bare.csv", description)


def test_pipes_are_not_waited_for_and_odd_folders_are_named(tmp_path):
    root = tmp_path / "root"
    write_digits(root, 30)
    os.mkfifo(root / "digit_0" / "pipe.png")
    (root / "digit_1" / "folder.png").mkdir()
    (root / "nothing").mkdir()
    data = image_data.Provider(root).prepare(OPTIONS)
    note = next(note for note in data.description["notes"] if "left out" in note)
    assert "pipe.png: it cannot be read (it is no ordinary file)" in note
    assert "nothing: this folder holds no pictures, and so is no class" in note
    assert len(data.train) + len(data.valid) == 30


@pytest.mark.parametrize(
    ("name", "values", "reason"),
    [
        ("float.tif", np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8), "its pixels are floats"),
        ("wide.tif", np.full((8, 8), 70_000, np.int32), "its pixels are from 70000 to 70000; expected 0 to 65535"),
    ],
)
def test_numbers_of_unknown_range_are_no_picture(tmp_path, name, values, reason):
    Image.fromarray(values).save(tmp_path / name)
    description = {"images": {"height": 8, "width": 8, "channels": 1}}
    with pytest.raises(DataError, match=reason):
        pictures_of([tmp_path / name], description)


def test_upper_case_names_and_other_modes_are_pictures(tmp_path):
    colours = Image.fromarray(np.arange(192, dtype=np.uint8).reshape(8, 8, 3))
    deep = Image.fromarray((np.arange(64, dtype=np.uint16) * 1040).reshape(8, 8))
    for number, (mode, suffix) in enumerate([("CMYK", ".JPG"), ("P", ".GIF"), ("P", ".PNG"), ("LA", ".png")] * 6):
        (tmp_path / f"c{number % 2}").mkdir(exist_ok=True)
        colours.convert(mode).save(tmp_path / f"c{number % 2}" / f"{number}{suffix}")
    deep.save(tmp_path / "c0" / "deep.png")
    data = image_data.Provider(tmp_path).prepare(OPTIONS)
    assert data.input_specs["image"].shape == (8, 8, 3) and len(data.train) + len(data.valid) == 25
    found = pictures_of([tmp_path / "c0" / "deep.png"], data.description)["image"]
    assert found[0, :, :, 0].ravel().tolist() == [value * 1040 >> 8 for value in range(64)]


BEFORE = PrepareOptions(seed=1, batch_size=8, reading_rules=2)


def test_the_first_picture_of_a_phones_file_is_read(tmp_path):
    write_digits(tmp_path, 30)
    picture = Image.fromarray(digits(1)[0][0])
    for name in ("photo.jpg", "photo.jfif"):
        picture.save(
            tmp_path / "digit_0" / name,
            format="MPO",
            save_all=True,
            append_images=[picture.rotate(90), picture.resize((3, 3))],
        )
    picture.save(tmp_path / "plain.jpg")
    data = image_data.Provider(tmp_path).prepare(OPTIONS)
    assert len(data.train) + len(data.valid) == 32
    assert not any("left out" in note for note in data.description["notes"])
    paths = [tmp_path / "plain.jpg", tmp_path / "digit_0" / "photo.jpg", tmp_path / "digit_0" / "photo.jfif"]
    plain, *others = pictures_of(paths, data.description)["image"]
    assert all(np.array_equal(plain, other) for other in others)
    before = image_data.Provider(tmp_path).prepare(BEFORE)
    assert len(before.train) + len(before.valid) == 30
    assert any("photo.jpg: it is animated" in note for note in before.description["notes"])
    assert any("not read: 1 .jfif" in note for note in before.description["notes"])


def test_a_study_of_before_reads_sixteen_bits_as_it_did(tmp_path):
    rng = np.random.default_rng(0)
    for row in range(20):
        (tmp_path / f"c{row % 2}").mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 2**16, (5, 5), np.uint16)).save(tmp_path / f"c{row % 2}" / f"{row}.png")
    deep = [tmp_path / "c0" / "0.png"]
    values = np.asarray(Image.open(deep[0])).astype(int)
    for options, expected in ((OPTIONS, values >> 8), (BEFORE, values * 255 // 65535)):
        data = image_data.Provider(tmp_path).prepare(options)
        assert any(np.array_equal(one[..., 0], expected) for rows in (data.train, data.valid)
                   for one in rows.inputs["image"])  # fmt: skip
        description = dict(data.description)
        assert np.array_equal(pictures_of(deep, description)["image"][0, ..., 0], expected)
    of_version_1 = {name: description["images"][name] for name in ("height", "width", "channels")}
    assert np.array_equal(pictures_of(deep, description | {"images": of_version_1})["image"][0, ..., 0], expected)


@pytest.mark.parametrize(("bits", "files"), [(8, 20), (12, 20), (14, 20), (15, 20), (16, 20), (10, 120)])
def test_pictures_of_few_bits_in_files_of_sixteen_are_noted(tmp_path, bits, files):
    for row in range(files):
        (tmp_path / f"c{row % 2}").mkdir(exist_ok=True)
        values = np.full((5, 5), 2**bits - 1 - row % 2, np.uint16)
        Image.fromarray(values).save(tmp_path / f"c{row % 2}" / f"{row}.png")
    (tmp_path / "c0" / "damaged.png").write_bytes((tmp_path / "c0" / "0.png").read_bytes()[:45])
    Image.new("L", (5, 5), 200).save(tmp_path / "c1" / "plain.png")
    notes = image_data.Provider(tmp_path, 5, 5, channels=1).prepare(OPTIONS).description["notes"]
    found = [note for note in notes if "sixteen bits" in note]
    if bits >= 15:
        assert not found
        return
    seen = (
        "20 pictures of sixteen bits" if files == 20 else r"6\d pictures of sixteen bits \(of 61 that were looked at\)"
    )
    said = f"{seen} hold numbers up to {2**bits - 1:,}, of 65,535, and become nearly black; if they have {bits} bits, "
    assert len(found) == 1 and re.fullmatch(f"{said}multiply their numbers by {2 ** (16 - bits)}", found[0])


def test_files_in_formats_that_are_not_read_are_counted_in_a_note(tmp_path):
    write_digits(tmp_path, 30)
    for name in ("a.avif", "b.AVIF", "c.heic", "d.txt", ".hidden.avif"):
        (tmp_path / "digit_1" / name).write_bytes(b"?")
    notes = image_data.Provider(tmp_path).prepare(OPTIONS).description["notes"]
    said = f"files in {tmp_path} in formats that are not read: 2 .avif, 1 .heic; convert them to PNG or JPEG"
    assert sum(said in note for note in notes) == 1
    only = tmp_path / "only"
    (only / "c").mkdir(parents=True)
    (only / "c" / "a.avif").write_bytes(b"?")
    with pytest.raises(DataError, match=r"holds no pictures in folders .* not read: 1 \.avif; convert them to PNG"):
        image_data.Provider(only).prepare(OPTIONS)


def test_one_picture_is_refused_and_not_read_as_its_rows():
    colours = np.random.default_rng(0).integers(0, 256, (30, 8, 8, 3), np.uint8)
    about = image_data.Provider(x=colours, y=np.arange(30) % 2).prepare(OPTIONS).description
    for source in (colours[0], {"image": colours[0]}, colours[0, :, :, [0, 1, 2, 0]].transpose(1, 2, 0)):
        with pytest.raises(
            DataError, match=r"received one picture of shape \(8, 8, [34]\).* 3 channels: give \[picture\]"
        ):
            pictures_of(source, about)
    with pytest.raises(DataError, match="received one picture"):
        labelled_pictures((colours[0], [0] * 8), about)
    for source in ([colours[0]], colours[:1]):
        assert np.array_equal(pictures_of(source, about)["image"], colours[:1])
    assert pictures_of(colours[..., 0], about)["image"].shape == (30, 8, 8, 3)
    assert pictures_of(colours[..., 0, None][:, :, :3], about)["image"].shape == (30, 8, 8, 3)


def test_lists_of_pictures_and_files_that_cannot_be_read_are_named(tmp_path):
    pictures, labels = digits(30)
    about = image_data.Provider(x=pictures, y=labels).prepare(OPTIONS).description
    assert pictures_of([pictures[0], pictures[1, :5]], about)["image"].shape == (2, 8, 8, 1)
    with pytest.raises(DataError, match="picture 2 has rows of different lengths"):
        pictures_of([pictures[0], [[0, 1], [2]]], about)


def test_a_csv_file_in_another_encoding(tmp_path):
    paths = write_digits(tmp_path, 30)
    kinds = ("caf\u00e9", "th\u00e9")
    rows = "".join(f"{path.relative_to(tmp_path)},{kinds[row % 2]}\n" for row, path in enumerate(paths))
    (tmp_path / "a.csv").write_text("file,kind\n" + rows, encoding="cp1252")
    (tmp_path / "8.csv").write_text("file,kind\n" + rows)
    with pytest.raises(DataError, match=r"is not utf-8: byte 0xe9 .*; save it as UTF-8, or give .* encoding='cp1252'$"):
        image_data.Provider(filename=tmp_path / "a.csv").prepare(OPTIONS)
    data = image_data.Provider(filename=tmp_path / "a.csv", encoding="cp1252").prepare(OPTIONS)
    plain = image_data.Provider(filename=tmp_path / "8.csv").prepare(OPTIONS)
    assert data.task.classes == ("caf\u00e9", "th\u00e9") and data.fingerprint == plain.fingerprint
    assert "encoding" not in plain.description["reading"]
    given = labelled_pictures(tmp_path / "a.csv", data.description)[1]
    assert set(given.values) == set(data.task.classes)
    with pytest.raises(DataError, match=r"is not utf-8: byte 0xe9 .*; save it as UTF-8, which this study reads$"):
        labelled_pictures(tmp_path / "a.csv", plain.description)
    with pytest.raises(DataError, match="encoding is 'cp1252', which is for a CSV file"):
        image_data.Provider(tmp_path, encoding="cp1252")


def test_one_grey_picture_with_its_channel_is_refused():
    pictures, labels = digits(30)
    about = image_data.Provider(x=pictures, y=labels).prepare(OPTIONS).description
    with pytest.raises(DataError, match=r"received one picture of shape \(8, 8, 1\)"):
        pictures_of(pictures[0][..., None], about)
    assert pictures_of(pictures[0][None, :, :, None], about)["image"].shape == (1, 8, 8, 1)
    narrow = image_data.Provider(x=pictures[:, :, :3], y=labels).prepare(OPTIONS).description
    assert len(pictures_of(pictures[:, :, :3], narrow)["image"]) == 30


def test_a_csv_file_of_paths_needs_no_header(tmp_path):
    paths = [str(path.relative_to(tmp_path)) for path in write_digits(tmp_path, 30)]
    about = image_data.Provider(tmp_path).prepare(OPTIONS).description
    expected = pictures_of([tmp_path / path for path in paths], about)["image"]
    (tmp_path / "bare.csv").write_text("".join(f"{path}\n" for path in paths))
    (tmp_path / "one.csv").write_text(f"{paths[0]}\n")
    (tmp_path / "head.csv").write_text("file\n" + "".join(f"{path}\n" for path in paths))
    assert np.array_equal(pictures_of(tmp_path / "bare.csv", about)["image"], expected)
    assert np.array_equal(pictures_of(tmp_path / "head.csv", about)["image"], expected)
    assert np.array_equal(pictures_of(tmp_path / "one.csv", about)["image"], expected[:1])
    labels = [path.split("/")[0] for path in paths]
    rows = "".join(f"{path},{label}\n" for path, label in zip(paths, labels, strict=True))
    (tmp_path / "labelled.csv").write_text(rows)
    data = image_data.Provider(filename=tmp_path / "labelled.csv").prepare(OPTIONS)
    assert len(data.train) + len(data.valid) == 30
    pictures, given = labelled_pictures(tmp_path / "labelled.csv", data.description)
    assert np.array_equal(pictures["image"], expected) and list(given.values) == labels


def test_a_first_row_that_names_a_missing_picture_is_no_header_unless_it_names_columns(tmp_path):
    paths = [str(path.relative_to(tmp_path)) for path in write_digits(tmp_path, 30)]
    about = image_data.Provider(tmp_path).prepare(OPTIONS).description
    (tmp_path / "bare.csv").write_text("".join(f"{path}\n" for path in ["gone.PNG", *paths]))
    with pytest.raises(DataError, match=r"1 of 31 pictures cannot be read: .*gone\.PNG"):
        pictures_of(tmp_path / "bare.csv", about)
    rows = "".join(f"{path},{path.split('/')[0]}\n" for path in paths)
    (tmp_path / "odd.csv").write_text("the.png,kind\n" + rows)
    data = image_data.Provider(filename=tmp_path / "odd.csv", label="kind").prepare(OPTIONS)
    assert len(data.train) + len(data.valid) == 30
    whole = image_data.Provider(filename=tmp_path / "odd.csv", path_column="the.png").prepare(OPTIONS)
    assert len(whole.train) + len(whole.valid) == 30


def test_predict_reads_the_column_of_paths_that_training_read(tmp_path):
    paths = [str(path.relative_to(tmp_path)) for path in write_digits(tmp_path, 30)]
    rows = "".join(f"{number},{path},{path.split('/')[0]}\n" for number, path in enumerate(paths))
    (tmp_path / "three.csv").write_text("id,file,kind\n" + rows)
    (tmp_path / "bare.csv").write_text("".join(f"{path}\n" for path in paths))
    provider = image_data.Provider(filename=tmp_path / "three.csv", path_column="file", label="kind")
    about = provider.prepare(OPTIONS).description
    expected = pictures_of([tmp_path / path for path in paths], about)["image"]
    for source in ("three.csv", "bare.csv"):
        assert np.array_equal(pictures_of(tmp_path / source, about)["image"], expected)
    assert files_of(tmp_path / "three.csv", about) == [tmp_path.resolve() / path for path in paths]


def test_links_out_of_a_folder_are_refused_at_prediction(tmp_path):
    paths = write_digits(tmp_path / "root", 30)
    write_digits(tmp_path / "other", 3)
    about = image_data.Provider(tmp_path / "root").prepare(OPTIONS).description
    (tmp_path / "root" / "empty").mkdir()
    assert len(labelled_pictures(tmp_path / "root", about)[1].values) == 30
    (tmp_path / "root" / "digit_0" / "inner.png").symlink_to(paths[0])
    assert len(pictures_of(tmp_path / "root", about)["image"]) == 31
    (tmp_path / "root" / "digit_0" / "outer.png").symlink_to(tmp_path / "other" / "digit_0" / "0000.png")
    for read in (pictures_of, labelled_pictures):
        with pytest.raises(DataError, match=r"1 of 32 pictures cannot be read: .*outer\.png: it is a link out of"):
            read(tmp_path / "root", about)


def test_linked_folders_are_named_and_left_out(tmp_path):
    write_digits(tmp_path / "root", 30)
    write_digits(tmp_path / "other", 3)
    about = image_data.Provider(tmp_path / "root").prepare(OPTIONS).description
    (tmp_path / "root" / "digit_x").symlink_to(tmp_path / "other" / "digit_0")
    (tmp_path / "root" / "digit_1" / "more").symlink_to(tmp_path / "other")
    prepared = image_data.Provider(tmp_path / "root").prepare(OPTIONS)
    (note,) = [note for note in prepared.description["notes"] if "left out" in note]
    assert "2 of 32 files are left out" in note
    assert "digit_x: it is a link to a folder, which is not followed" in note
    assert "more: it is a link to a folder" in note
    for read in (pictures_of, labelled_pictures, files_of):
        said = []
        read(tmp_path / "root", about, said.append)
        (note,) = said
        assert note.startswith("2 links to folders are left out: ") and "digit_x: it is a link to a folder" in note
    assert len(pictures_of(tmp_path / "root", about)["image"]) == 30
    assert len(labelled_pictures(tmp_path / "root", about)[1].values) == 30


def test_a_folder_of_nothing_but_links_says_so(tmp_path):
    write_digits(tmp_path / "other", 30)
    (tmp_path / "root").mkdir()
    for folder in (tmp_path / "other").iterdir():
        (tmp_path / "root" / folder.name).symlink_to(folder)
    with pytest.raises(DataError, match=r"holds no pictures in folders of classes; .*left out: .*is a link"):
        image_data.Provider(tmp_path / "root").prepare(OPTIONS)


def test_a_linked_folder_of_validation_pictures_is_named(tmp_path):
    write_digits(tmp_path / "root" / "train", 30)
    write_digits(tmp_path / "other", 30)
    (tmp_path / "root" / "valid").symlink_to(tmp_path / "other")
    prepared = image_data.Provider(tmp_path / "root").prepare(OPTIONS)
    assert any("valid: it is a link to a folder" in note for note in prepared.description["notes"])
