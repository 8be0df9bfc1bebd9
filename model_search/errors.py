"""Every error that Model Search raises on purpose.

The class of an exception decides what happens next: a `UserError` is a mistake in the user's input (the command prints
its one sentence and exits with status 2), a `TrialError` ends one trial, a `StopStudy` ends the search. Anything else
that is raised in a trial fails that trial with the exception's message.
"""

from __future__ import annotations

from model_search.printable import printable


class ModelSearchError(Exception):
    """Base of all errors that this package raises on purpose."""

    def __str__(self) -> str:
        """The message; control characters in names and labels that it quotes are shown as escapes."""
        return printable(super().__str__())


class UserError(ModelSearchError):
    """Something that was given is wrong; the message says what was received, what was expected and how to fix it."""


class SpecError(UserError):
    """A search specification that cannot be read or is invalid; lists every problem, with line and column."""


class DataError(UserError):
    """Data that cannot be read or learnt from."""


class ProviderError(DataError):
    """A provider's own code has raised an exception, which is the cause of this one."""


class StudyError(UserError):
    """A study that does not exist, cannot be read, or does not fit what is asked of it."""


class DamagedRecordError(StudyError, ValueError):
    """What a study's database says of it cannot be used: it was edited, damaged, or written by another version."""


class UnsupportedError(UserError):
    """Something valid that this version cannot do."""


class StoreError(ModelSearchError):
    """The study's database refused an operation."""


class DiskFullError(StoreError):
    """The disk is full; nothing of the step was written, and the study can continue once there is room."""


class UnstorableError(StoreError):
    """A value that the study cannot hold, such as a timing that is no number."""


class RepeatedPlanError(StoreError):
    """The same architecture with hyperparameters in the same bins has already been tried, or is being tried."""


class StaleClaimError(StoreError):
    """The trial has been given to another worker; the late result is refused."""


class TrialError(ModelSearchError):
    """This trial has failed; the study goes on with another one."""


class InfeasibleTrialError(TrialError):
    """This trial would take more time, parameters or memory than one may; it is not trained."""


class RetryTrialError(TrialError):
    """This trial failed for an external reason; it may be run again under the same id."""


class StopStudyError(ModelSearchError):
    """The study cannot go on; every finished trial is kept."""


class SpaceExhaustedError(StopStudyError):
    """Every architecture and hyperparameter bin of the search space has been tried."""


class DataWarning(UserWarning):
    """Cells are not taken as they are: says what they hold, in how many rows, and what they count as."""


class NoMorphismError(TrialError):
    """A tower cannot begin as the function of the one that it was grown from; it begins elsewhere."""
