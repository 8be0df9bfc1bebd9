"""What is shown while a search runs: a live bar on a terminal, a line per trial elsewhere."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Any, Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

from model_search.metadata.trial import Trial, TrialPlan, TrialState
from model_search.printable import printable, printable_line, say
from model_search.search.history.history import History
from model_search.training.outcome import Progress


class Display(Protocol):
    """Receives the events of the worker loop."""

    def note(self, text: str) -> None:
        """One line for people."""

    def resume(self, history: History) -> None:
        """The study may hold models already."""

    def start(self, plan: TrialPlan, attempt: int) -> None:
        """A trial begins; `attempt` is that of its claim."""

    def step(self, progress: Progress) -> None:
        """A trial has made progress."""

    def finish(self, trial: Trial, history: History) -> None:
        """A trial has ended."""


class ProgressDisplay:
    """Shows trials as they run.

    Args:
        metric: What trials are compared by.
        target: How many models there are to be.
        enabled: None shows them, too; False is silent.
        is_begun: Whether the models that the study holds were shown before.
    """

    def __init__(self, metric: str, target: int, enabled: bool | None = None, is_begun: bool = False):
        self._metric = metric
        self._is_begun = is_begun
        self._target = target
        self._console = Console(file=sys.stderr, quiet=enabled is False, highlight=False, emoji=False)
        self._bars: Bars | None = None
        self._study_bar = TaskID(0)
        self._trial_bars: dict[str, TaskID] = {}

    def __enter__(self) -> ProgressDisplay:
        if self._console.is_terminal and not self._console.quiet:
            self._bars = Bars(
                TextColumn("{task.description}", markup=False),
                BarColumn(bar_width=24),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                console=self._console,
                transient=True,
            )
            self._study_bar = self._bars.add_task("models", total=self._target)
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bars is not None:
            self._bars.stop()
            self._bars = None

    def note(self, text: str) -> None:
        """Prints one line."""
        self._console.print(printable(text), markup=False, soft_wrap=True)

    def warn(self, text: str) -> None:
        """Prints one line even if progress is silent: a warning that something that was asked for is not done."""
        if self._console.quiet:
            say(text, file=sys.stderr)
        else:
            self.note(text)

    def resume(self, history: History) -> None:
        """The study may hold models already."""
        if self._bars is not None:
            self._bars.update(self._study_bar, completed=history.completed_count)
        count = history.completed_count
        if count and not self._is_begun:
            self.note(f"the study holds {count} {'model' if count == 1 else 'models'} already")

    def start(self, plan: TrialPlan, attempt: int) -> None:
        """A trial begins in this process."""
        self.show(f"trial {plan.trial_id}: {plan.kind}", 0, plan.steps)

    def step(self, progress: Progress) -> None:
        """The trial in this process has made progress."""
        self.show(None, progress.step, progress.steps)

    def show(self, text: str | None, step: int, steps: int, worker: str = "") -> None:
        """Shows a worker's progress; `text` None keeps the text."""
        if self._bars is None:
            return
        if worker not in self._trial_bars:
            self._trial_bars[worker] = self._bars.add_task(printable_line(text or ""), total=steps)
        said: dict[str, Any] = {} if text is None else {"description": printable_line(text)}
        self._bars.update(self._trial_bars[worker], completed=step, total=steps, visible=True, **said)

    def hide(self, worker: str) -> None:
        """A worker has ended, or has no trial."""
        if self._bars is not None and worker in self._trial_bars:
            self._bars.update(self._trial_bars[worker], visible=False)

    def finish(self, trial: Trial, history: History) -> None:
        """A trial has ended."""
        completed = history.completed_count
        if self._bars is not None:
            self._bars.update(self._study_bar, completed=completed)
        self.note(f"[{completed:>3}/{self._target}] {self._line(trial, history)}")

    def _line(self, trial: Trial, history: History) -> str:
        if trial.state is TrialState.FAILED or trial.result is None or trial.plan is None:
            return f"trial {trial.id} failed: {trial.reason}"
        if trial.plan.supernet is not None:
            found = trial.result.candidates
            compared = f"{len(found)} architectures compared" if found else f"trained to step {trial.plan.steps}"
            return f"trial {trial.id}: {trial.plan.described}, {compared}  {trial.result.timings['trial']:.1f} s"
        if trial.plan.left_out:
            return (
                f"trial {trial.id}: {self._metric} {trial.objective(self._metric):.5g} of trial {trial.plan.parent} on "
                f"further folds  {trial.result.timings['trial']:.1f} s"
            )
        best = history.best(1)[0]
        mark = "  best so far" if best.id == trial.id else f"  (best {best.objective(self._metric):.5g})"
        return (
            f"trial {trial.id}: {self._metric} {trial.objective(self._metric):.5g}{mark}  "
            f"{trial.result.timings['trial']:.1f} s  {trial.plan.described}"
        )
