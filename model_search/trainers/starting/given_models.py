"""`warm_start_from`: the best towers of another study, or a stock Keras model, kept with the study that they begin."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from model_search.errors import StudyError, UserError
from model_search.metadata import paths
from model_search.metadata.artefacts import ArtefactStore, DamagedArtefactError, save_arrays
from model_search.metadata.shared_artefacts import open_artefacts
from model_search.metadata.sqlite_store import SqliteStore
from model_search.metadata.store import Store
from model_search.metadata.trial import TAKEN_OVER, StartKind
from model_search.search.history.history import History
from model_search.search.planning.transfer import GivenTower
from model_search.towers.starting_weights import BY_LAYER, layer_weight_names
from model_search.towers.weight_names import is_numbered
from model_search.training.stored_towers import stored_arrays

MOST_TOWERS = 10  # of another study, the best ones
KERAS_MODEL = "model"
_SETTING = "given"


@dataclasses.dataclass(frozen=True)
class GivenModels:
    """Trained models.

    Attributes:
        origin: Where they come from, for people.
        towers: Their names and blocks, the best first.
        arrays: Their weights; a model's name stands before those of its weights.
    """

    origin: str
    towers: tuple[GivenTower, ...]
    arrays: Mapping[str, np.ndarray]

    @property
    def digest(self) -> str:
        """The same for the same weights under the same names, and for no others."""
        found = hashlib.sha256()
        for name, array in sorted(self.arrays.items()):
            found.update(f"{name} {array.dtype} {array.shape}\n".encode())
            found.update(np.ascontiguousarray(array).tobytes())
        return found.hexdigest()

    def to_settings(self) -> dict[str, Any]:
        """What a study remembers of them."""
        towers = [{"name": tower.name, "blocks": list(tower.architecture)} for tower in self.towers]
        return {_SETTING: {"origin": self.origin, "digest": self.digest, "towers": towers}}


def read_given(source: Any, artefacts: str | None = None) -> GivenModels | None:
    """Reads what a user gives; None for nothing.

    Args:
        source: A `Study` or the path of its folder, a Keras model or the path of a .keras file, or None.
        artefacts: Where the search keeps the files of its trials. A study that is given by its folder may keep its own
            there, too; a `Study` knows its own place, if it was loaded with it.

    Raises:
        UserError: if it is none of these, or has no trained weights.
    """
    if source is None:
        return None
    folder = getattr(source, "folder", None)
    if isinstance(folder, pathlib.Path):
        return _of_study(folder, getattr(source, "artefacts_place", None), artefacts)
    if isinstance(source, str | os.PathLike):
        path = pathlib.Path(source).expanduser()
        if (path / paths.DATABASE).is_file():
            return _of_study(path, None, artefacts)
        if path.suffix == ".keras" and path.is_file():
            return _of_model(_load(path), str(path))
        raise UserError(f"warm_start_from is {str(source)!r}; expected the folder of a study, or a .keras file")
    if hasattr(source, "layers") and hasattr(source, "weights"):
        return _of_model(source, f"the Keras model {source.name}")
    raise UserError(
        f"warm_start_from is a {type(source).__name__}; expected a Study, the path of its folder, a Keras model or the "
        "path of a .keras file"
    )


def given_towers(settings: Mapping[str, Any]) -> tuple[GivenTower, ...]:
    """The models that a study was given, by its settings.

    Raises:
        StudyError: if the settings are damaged.
    """
    stored = settings.get(_SETTING)
    if stored is None:
        return ()
    try:
        towers = tuple(GivenTower(tower["name"], tuple(tower["blocks"])) for tower in stored["towers"])
    except (TypeError, KeyError) as error:
        raise StudyError(f"the settings of the study are damaged: {_SETTING} is {stored!r:.80}") from error
    if not all(isinstance(text, str) and text for tower in towers for text in (tower.name, *tower.architecture)):
        raise StudyError(f"the settings of the study are damaged: {_SETTING} is {stored!r:.80}")
    return towers


def given_settings(given: GivenModels | None, earlier: Mapping[str, Any]) -> dict[str, Any]:
    """What a study remembers of the models that it is given now, or was given before.

    Raises:
        StudyError: if it was given others before.
    """
    known = earlier.get(_SETTING)
    if given is None:
        return {} if known is None else {_SETTING: known}
    settings = given.to_settings()
    if known is not None and known.get("digest") != settings[_SETTING]["digest"]:
        raise StudyError(
            f"the study starts its towers from {known.get('origin')}; leave warm_start_from out to continue it, or "
            "begin anew with overwrite=True or another experiment_name"
        )
    return settings if known is None else {_SETTING: known}


def without_given(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a study, but for what it remembers of the models that it was given."""
    return {name: value for name, value in settings.items() if name != _SETTING}


def keep_given(store: Store, artefacts: ArtefactStore, given: GivenModels | None) -> None:
    """Stores the weights with the study, unless they are there.

    Raises:
        StudyError: if the study was given models, was ended before it had stored them, and is not given them again.
    """
    if paths.GIVEN_MODELS in store.files():
        return
    if given is not None:
        store.save_file(save_arrays(artefacts, None, paths.GIVEN_MODELS, given.arrays))
    elif store.study().settings.get(_SETTING) is not None:
        raise StudyError(
            "the study was ended before it had stored the models to start from; give warm_start_from again"
        )


@dataclasses.dataclass(frozen=True)
class Fit:
    """How many towers of a search began with weights of the models that it was given.

    Attributes:
        origin: Where the models come from, for people.
        taken_over: For each tower that did not begin with earlier trials, with how many such weights it began.
    """

    origin: str
    taken_over: tuple[int, ...]

    @property
    def is_none(self) -> bool:
        """Whether no weight fitted any tower."""
        return not any(self.taken_over)

    def __str__(self) -> str:
        count = len(self.taken_over)
        if self.is_none:
            return (
                f"warm_start_from has had no effect so far: none of the {count} towers of this search began with "
                f"weights of {self.origin}; random ones begin with fresh weights, and others take what fits: expected "
                "models that share blocks, or layers of the same kinds and shapes, with them"
            )
        fitting = [number for number in self.taken_over if number]
        return (
            f"{len(fitting)} of {count} towers began with weights of {self.origin} (up to {max(fitting)} each); all "
            "other weights were fresh"
        )


def fit_of_given(settings: Mapping[str, Any], history: History) -> Fit | None:
    """How many towers began with weights of the models that a study was given; None where there is nothing to say.

    Towers that begin with earlier trials do not count.

    Args:
        settings: The study's.
        history: Its trials.
    """
    if not given_towers(settings):
        return None
    found = []
    for trial in history.completed:
        plan, result = trial.plan, trial.result
        if plan is None or result is None or not plan.is_searched:
            continue
        if plan.start is None:
            found.append(0)  # no given tower has a block in common with it, or it is a sample of random search
        elif plan.start.kind is StartKind.GIVEN:
            count = result.environment.get(TAKEN_OVER)
            if type(count) is not int:
                return None  # of an evaluator that does not say
            found.append(count)
    return Fit(str(settings[_SETTING].get("origin")), tuple(found)) if found else None


def _of_study(folder: pathlib.Path, own_place: str | None, place_of_search: str | None) -> GivenModels:
    """The best towers of a study.

    Args:
        folder: The study's.
        own_place: Where its user says that it keeps its files; None where nothing is said.
        place_of_search: Where the search keeps its own, which counts where nothing is said.
    """
    store = SqliteStore(folder / paths.DATABASE, create=False)
    try:
        record = store.study().checked()
        named = place_of_search if record.settings.get("artefacts") is not None else None
        artefacts = open_artefacts(folder, record, named if own_place is None else own_place)
        history = History(record.ranking)
        history.update(store.history()[0])
        towers: list[GivenTower] = []
        arrays: dict[str, np.ndarray] = {}
        for trial in history.towers.completed:
            plan = trial.plan
            if len(towers) == MOST_TOWERS or plan is None or not plan.trains_one_tower:
                continue
            try:
                weights = stored_arrays(artefacts, trial.artefacts, paths.WEIGHTS)
            except DamagedArtefactError:
                continue  # deleted to save room
            if weights and not is_numbered(weights):
                towers.append(GivenTower(str(trial.id), plan.architecture))
                arrays |= {f"{trial.id}/{name}": array for name, array in weights.items()}
    finally:
        store.close()
    if not towers:
        raise UserError(f"warm_start_from: study {record.name!r} has no trained tower whose weights are stored")
    return GivenModels(f"the best towers of study {record.name!r}", tuple(towers), arrays)


def _of_model(model: Any, origin: str) -> GivenModels:
    names, weights = layer_weight_names(model), model.get_weights()
    if not weights:
        raise UserError(f"warm_start_from: {origin} has no weights")
    arrays = {
        f"{KERAS_MODEL}/{BY_LAYER}{name}": _storable(array, name, origin)
        for name, array in zip(names, weights, strict=True)
    }
    return GivenModels(origin, (GivenTower(KERAS_MODEL),), arrays)


def _storable(array: np.ndarray, name: str, origin: str) -> np.ndarray:
    """An array of a type that NumPy itself has: bfloat16 and the like become float32."""
    if array.dtype.kind in "biuf":
        return array
    try:
        return array.astype(np.float32)
    except (TypeError, ValueError):
        raise UserError(
            f"warm_start_from: the weight {name} of {origin} is of type {array.dtype}; expected numbers"
        ) from None


def _load(path: pathlib.Path) -> Any:
    from model_search.training.runtime import tensorflow

    tensorflow()  # quietly, before Keras is imported
    from model_search.towers.stock_models import load_stock_model

    return load_stock_model(path)
