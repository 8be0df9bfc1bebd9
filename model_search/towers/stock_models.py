"""Keras models of other origin."""

from __future__ import annotations

import os

import keras

from model_search.errors import UserError


def load_stock_model(path: str | os.PathLike[str]) -> keras.Model:
    """Reads a .keras file, in safe mode: nothing in it is run.

    Raises:
        UserError: if it cannot be read so.
    """
    try:
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:
        raise UserError(f"{path} cannot be read as a Keras model: {type(error).__name__}: {error}") from error
