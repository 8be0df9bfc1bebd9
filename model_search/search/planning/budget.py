"""How long trials on a table are trained where the user does not say: epochs by its rows and columns.

Small tables are seen often, large ones a few times. The numbers were found with piecewise-linear encodings, Adam and a
learning rate that falls to zero, on tables of 600 to 36,000 rows.
"""

from __future__ import annotations

import dataclasses
import math

from model_search.metadata.limits import MOST_STEPS

BATCH_SIZE = 256
_EPOCHS = 64  # of a table of up to so many rows:
_FEW_ROWS = 5_000
_EXPONENT = 0.7  # of the epochs of a larger one, which sees more rows all the same
_MANY_COLUMNS = 50  # from which large tables (of many categories) are learnt, and overfitted, sooner
_FEWEST_STEPS = 100


@dataclasses.dataclass(frozen=True)
class Budget:
    """The length of trials on a table.

    Attributes:
        rows: Training rows.
        columns: Columns that towers read.
        batch_size: Rows per step; None if it is searched.
    """

    rows: int
    columns: int
    batch_size: int | None = None

    @property
    def usual_batch_size(self) -> int:
        """Rows per step of a trial that does not choose."""
        return BATCH_SIZE if self.batch_size is None else self.batch_size

    @property
    def epochs(self) -> int:
        """How often a trial sees the rows, unless it chooses otherwise."""
        epochs = _EPOCHS * (_FEW_ROWS / max(self.rows, _FEW_ROWS)) ** _EXPONENT
        if self.rows > _FEW_ROWS and self.columns > _MANY_COLUMNS:
            epochs *= max(0.5, _MANY_COLUMNS / self.columns)
        return max(1, round(epochs))

    @property
    def choices_of_epochs(self) -> tuple[int, ...]:
        """The epochs that trials may choose: the usual ones, half of them, or twice as many."""
        return tuple(dict.fromkeys((max(1, self.epochs // 2), self.epochs, 2 * self.epochs)))

    @property
    def choices_of_batch_size(self) -> tuple[int, ...]:
        """The batch sizes that trials may choose; none where the user has."""
        return (BATCH_SIZE // 2, BATCH_SIZE, BATCH_SIZE * 2) if self.batch_size is None else ()

    @property
    def usual_steps(self) -> int:
        """Steps of a trial that does not choose."""
        return self.steps(self.epochs, self.usual_batch_size)

    def steps(self, epochs: int, batch_size: int) -> int:
        """Steps for so many epochs; a tiny table gets a hundred all the same."""
        return min(MOST_STEPS, max(_FEWEST_STEPS, math.ceil(epochs * self.rows / batch_size)))
