"""The providers of pictures, of sound and of text as the command's flags describe them."""

from __future__ import annotations

from absl import flags

from model_search.data import audio_data, image_data, text_data
from model_search.data.provider import register_provider
from model_search.data.text.text_files import TextColumns
from model_search.errors import UserError

FLAGS = flags.FLAGS


@register_provider("image")
@register_provider("image_data_provider")
class Provider(image_data.Provider):
    """Reads the pictures of `--input_dir`, or those that the CSV file `--filename` names.

    Raises:
        UserError: if neither is given, or a flag that is not read.
    """

    def __init__(self) -> None:
        _check_data()
        super().__init__(
            input_dir=FLAGS.input_dir,
            image_width=FLAGS.image_width,
            image_height=FLAGS.image_height,
            eval_fraction=FLAGS.eval_fraction,
            filename=FLAGS.filename or None,
            label=FLAGS.label,
            weight=FLAGS.weight,
            groups=FLAGS.groups,
            task=FLAGS.task,
            encoding="utf-8" if FLAGS.encoding is None else FLAGS.encoding,
        )


@register_provider("audio")
@register_provider("audio_data_provider")
class AudioProvider(audio_data.Provider):
    """Reads the recordings of `--input_dir`, or those that the CSV file `--filename` names.

    Raises:
        UserError: if neither is given, or a flag that is not read.
    """

    def __init__(self) -> None:
        _check_data()
        super().__init__(
            input_dir=FLAGS.input_dir,
            filename=FLAGS.filename or None,
            validation_filename=FLAGS.validation_filename,
            label=FLAGS.label,
            weight=FLAGS.weight,
            groups=FLAGS.groups,
            task=FLAGS.task,
            encoding="utf-8" if FLAGS.encoding is None else FLAGS.encoding,
        )


@register_provider("text")
@register_provider("text_data_provider")
class TextProvider(text_data.Provider):
    """Reads the `.txt` files of `--input_dir`, or the column of texts of the CSV file `--filename`.

    Raises:
        UserError: if neither is given, or a flag that is not read.
    """

    def __init__(self) -> None:
        _check_data("groups")
        is_file = bool(FLAGS.filename)
        super().__init__(
            input_dir=FLAGS.input_dir,
            filename=FLAGS.filename or None,
            columns=TextColumns(FLAGS.text, FLAGS.label, FLAGS.weight) if is_file else None,
            validation=FLAGS.validation_filename,
            task=FLAGS.task,
            encoding="utf-8" if FLAGS.encoding is None else FLAGS.encoding,
        )


def _check_data(*unread: str) -> None:
    """Checks that there are data, and that no flag is given that they do not read: these, and those of tables."""
    given = [
        name
        for name in (*unread, "time", "classes", "quantiles", "log_target", "decimal")
        if FLAGS[name].value is not None
    ]
    if given:
        raise UserError(f"--{given[0]} is not read with --phoenix_dataset={FLAGS.phoenix_dataset}; leave it out")
    if FLAGS.encoding is not None and FLAGS.input_dir:
        raise UserError("--encoding is not read with --input_dir, but with the CSV file of --filename; leave it out")
    if FLAGS.input_dir and FLAGS.filename:
        raise UserError("received --input_dir and --filename; expected one of them: a folder, or a CSV file")
    if not FLAGS.input_dir and not FLAGS.filename:
        raise UserError(
            "no data: name a folder of folders of classes with --input_dir=DIR, or a CSV file of paths (or texts) and "
            "labels with --filename=FILE.csv"
        )
