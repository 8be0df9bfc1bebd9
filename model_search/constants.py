"""Paths of the stock specifications, valid from any directory, installed or in a checkout."""

import pathlib


def _specs() -> pathlib.Path:
    package = pathlib.Path(__file__).resolve().parent
    installed = package / "specs"
    return installed if installed.is_dir() else package.parent / "specs"


_SPECS = _specs()

DEFAULT_DNN = str(_SPECS / "dnn_config.pbtxt")
DEFAULT_TABULAR = str(_SPECS / "dnn_tabular.pbtxt")
DEFAULT_CNN = str(_SPECS / "cnn_config.pbtxt")
DEFAULT_RNN_ALL = str(_SPECS / "rnn_all_config.pbtxt")
DEFAULT_RNN_LAST = str(_SPECS / "rnn_last_config.pbtxt")
DEFAULT_IMAGE = str(_SPECS / "image_config.pbtxt")
DEFAULT_SEQUENCE = str(_SPECS / "sequence_config.pbtxt")
DEFAULT_SOUND = str(_SPECS / "sound_config.pbtxt")
DEFAULT_TEXT = str(_SPECS / "text_config.pbtxt")

# Names of the optimizers; `training/optimizers.py` says how each is computed.
OPTIMIZERS = ("momentum", "sgd", "adagrad", "adam", "rmsprop", "nesterov")
# Courses of the learning rate; `training/hyperparameters.py` says what each is.
SCHEDULES = ("constant", "cosine", "flat_cosine")
