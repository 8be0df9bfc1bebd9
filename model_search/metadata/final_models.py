"""The models that the final stage makes of a study's trials: an ensemble, and a student distilled from it."""

from __future__ import annotations

import dataclasses
import enum
import json
import math
from collections.abc import Mapping
from typing import Any, Literal

from model_search.errors import StudyError, UserError
from model_search.metadata.trial import Artefact, Trial, TrialPlan

FINISH_CHOICES = ("both", "ensemble", "distil", "neither")  # what the final stage can make
MEMBERS = ("auto", "networks")  # what may take part in a final ensemble
KEEP_MODELS = 1000  # trials that keep their files: as many as the final stage selects its ensemble from
ModelName = Literal["best", "single", "ensemble", "student"]
ModelChoice = int | ModelName | None
"""One of a study's models: a trial's number, a name ("single" is the best trial), or None for the best of all."""


def check_what(what: str, student_parameters: int | None) -> None:
    """Checks what a user asks of the final stage.

    Raises:
        UserError: naming what was received and what is expected.
    """
    if what not in FINISH_CHOICES:
        raise UserError(
            f"the final stage was asked for {what!r}; expected one of {', '.join(map(repr, FINISH_CHOICES))}"
        )
    if student_parameters is not None and (type(student_parameters) is not int or student_parameters < 1):
        raise UserError(f"student_parameters is {student_parameters!r}; expected a whole number of at least 1")


def with_model(trial: Trial) -> Trial:
    """A trial that a user names, if it has a model by itself.

    Raises:
        StudyError: saying why it has none.
    """
    if trial.result is None:
        raise StudyError(f"trial {trial.id} is {trial.state} and has no model")
    if trial.plan is not None and trial.plan.supernet is not None:
        raise StudyError(f"trial {trial.id} is a {trial.plan.described}, which is no model; name another trial")
    if trial.plan is not None and trial.plan.left_out:
        raise StudyError(
            f"trial {trial.id} is trial {trial.plan.parent} on further folds, and is no model; name that one"
        )
    return trial


def wants_student(what: str) -> bool:
    """Whether a student is asked for."""
    return what in ("both", "distil")


class FinalKind(enum.StrEnum):
    """What the final stage can make; a study keeps at most one of each."""

    ENSEMBLE = "ensemble"
    STUDENT = "student"


@dataclasses.dataclass(frozen=True)
class Calibration:
    """What dividing the logits by a temperature does to a model's probabilities, on validation rows.

    Attributes:
        temperature: The divisor.
        fitted: It was fitted on these rows; False where the specification names it.
        log_loss_before: With temperature 1.
        log_loss_after: With this one.
        error_before: Expected calibration error (15 bins) with temperature 1.
        error_after: With this one.
        others: The temperature of each further task, in their order; empty where nothing was fitted for them.
    """

    temperature: float
    fitted: bool
    log_loss_before: float
    log_loss_after: float
    error_before: float
    error_after: float
    others: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "others", tuple(self.others))  # a list, where it comes from JSON
        for temperature in (self.temperature, *self.others):
            if not temperature > 0:
                raise ValueError(f"temperature is {temperature}; expected a number above 0")

    @property
    def has_too_few_rows(self) -> bool:
        """Whether no temperature was fitted, since there are too few rows for it."""
        return self.fitted and self.temperature == 1


@dataclasses.dataclass(frozen=True)
class FinalMember:
    """One model in the final ensemble.

    Attributes:
        trial: Its trial.
        weight: Its share, above 0; the weights of an ensemble add up to 1.
        metric: Its own validation metric, the study's; None where it cannot be computed.
        without: The ensemble's metric without this member, the others' weights scaled up; None for the only member,
            or where it cannot be computed.
        share: The most that a student keeps of its numbers: the first models of a bag, or the first trees of its
            forests; 1 for all.
    """

    trial: int
    weight: float
    metric: float | None = None
    without: float | None = None
    share: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise ValueError(f"the share {self.share} is kept of member {self.trial}; expected one in (0, 1]")
        if not 0 < self.weight <= 1:
            raise ValueError(f"member {self.trial} has the weight {self.weight}; expected one in (0, 1]")


@dataclasses.dataclass(frozen=True)
class FinalModel:
    """A model of the final stage; written once, replaced as a whole.

    Attributes:
        kind: Ensemble or student.
        metrics: Finite validation metrics by name.
        parameters: Trainable parameters; of an ensemble, of its different towers together.
        seconds: Time that it took to make.
        trials: The completed trials that it was made from.
        accepted: Whether it may be the study's best model: an ensemble must beat the best single model by a
            cross-fitted estimate, a student the best of all others by more than the noise of the validation rows.
        gain: That gain, in the metric's own units; above 0 is better.
        gain_error: Of an ensemble, the standard deviation of that estimate between splits; of a student, its standard
            error.
        members: Of an ensemble, or of a student that is a part of it, the heaviest first.
        plan: Of a student that was trained.
        calibration: None where numbers are predicted.
        artefacts: Stored files ("student_weights.npz" of a student).
        notes: Sentences for people.
        leads: Whether an accepted ensemble comes before trials whose figure is better: theirs is the best of many, its
            gain over them is estimated by cross-fitting. False in studies of earlier versions.
    """

    kind: FinalKind
    metrics: Mapping[str, float]
    parameters: int
    seconds: float
    trials: tuple[int, ...]
    accepted: bool = True
    gain: float | None = None
    gain_error: float | None = None
    members: tuple[FinalMember, ...] = ()
    plan: TrialPlan | None = None
    calibration: Calibration | None = None
    artefacts: tuple[Artefact, ...] = ()
    notes: tuple[str, ...] = ()
    leads: bool = False

    def __post_init__(self) -> None:
        if self.kind is FinalKind.ENSEMBLE and self.plan is not None:
            raise ValueError(f"a final {self.kind} and the plan {self.plan}; expected one with a student only")
        if (self.plan is None) != bool(self.members):
            raise ValueError(
                f"a final {self.kind} with {len(self.members)} members and the plan {self.plan}; expected either"
            )
        if self.kind is FinalKind.ENSEMBLE and not all(member.share == 1 for member in self.members):
            raise ValueError("a final ensemble with a part of a member; expected that in a student only")
        if self.leads and not (self.accepted and self.kind is FinalKind.ENSEMBLE):
            raise ValueError(f"a final {self.kind} that leads; expected an ensemble that is accepted")
        if self.members and not math.isclose(sum(member.weight for member in self.members), 1, rel_tol=1e-6):
            raise ValueError(f"the weights of the members add up to {sum(m.weight for m in self.members)}, not to 1")
        for name, value in self.metrics.items():
            if not math.isfinite(value):
                raise ValueError(f"metric {name!r} is {value}; a final model has finite metrics")

    def to_json(self) -> str:
        """Strict JSON (no NaN or infinity), keys sorted."""
        values = dataclasses.asdict(self) | {"kind": self.kind.value}
        values["plan"] = None if self.plan is None else json.loads(self.plan.to_json())
        return json.dumps(values, sort_keys=True, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> FinalModel:
        """Reads what `to_json` wrote.

        Raises:
            ValueError: if the text is not such a record.
        """
        try:
            values: dict[str, Any] = json.loads(text)
            values["kind"] = FinalKind(values["kind"])
            values["members"] = tuple(FinalMember(**member) for member in values["members"])
            values["artefacts"] = tuple(Artefact(**artefact) for artefact in values["artefacts"])
            values["trials"], values["notes"] = tuple(values["trials"]), tuple(values["notes"])
            if values["plan"] is not None:
                values["plan"] = TrialPlan.from_json(json.dumps(values["plan"]))
            if values["calibration"] is not None:
                values["calibration"] = Calibration(**values["calibration"])
            return cls(**values)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not a final model: {error}") from error
