"""The CSV provider as the command's flags describe it."""

from __future__ import annotations

from absl import flags

from model_search.data import csv_data
from model_search.data.provider import register_provider
from model_search.errors import UserError

FLAGS = flags.FLAGS


@register_provider("csv")
@register_provider("csv_data_provider")
class Provider(csv_data.Provider):
    """Reads `--filename`, `--label` and the flags beside them.

    Raises:
        UserError: if the file or the label is not named.
    """

    def __init__(self) -> None:
        if not FLAGS.filename:
            raise UserError(
                "no data: name a CSV file with --filename=FILE.csv and its label column with --label=COLUMN, or a "
                "folder of pictures with --input_dir=DIR"
            )
        if FLAGS.label is None and FLAGS.label_index is None:
            raise UserError("no label: name the label column with --label=COLUMN (or --label_index=NUMBER, from 0)")
        defaults = FLAGS.record_defaults
        super().__init__(
            label_index=FLAGS.label_index,
            logits_dimension=FLAGS.logits_dimension,
            record_defaults=None if defaults is None else [_default_value(text) for text in defaults.split(",")],
            filename=FLAGS.filename,
            validation_filename=FLAGS.validation_filename,
            field_delim=FLAGS.field_delim,
            label=FLAGS.label,
            weight=FLAGS.weight,
            task=FLAGS.task,
            classes=FLAGS.classes,
            quantiles=FLAGS.quantiles,
            log_target=FLAGS.log_target,
            encoding="utf-8" if FLAGS.encoding is None else FLAGS.encoding,
            decimal=FLAGS.decimal,
            groups=FLAGS.groups,
            time=FLAGS.time,
        )


def _default_value(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text
