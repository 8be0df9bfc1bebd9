"""After the final stage: the towers of the model that is handed back are trained again on all rows."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

from model_search.data.prepared_data import PreparedData, TableData
from model_search.data.rows import concatenate
from model_search.data.tabular.table import GIVEN_VALIDATION
from model_search.deadline import Deadline
from model_search.errors import TrialError
from model_search.metadata.artefacts import save_arrays
from model_search.metadata.final_models import FinalKind, FinalModel, wants_student
from model_search.metadata.paths import refit_weights
from model_search.metadata.trial import Trial, TrialKind, TrialPlan
from model_search.report.leaderboard import ranked_models
from model_search.search.history.history import History
from model_search.search.planning.classic_models import with_length_of
from model_search.search.planning.fold_plans import FOLDS
from model_search.search.planning.longer import LongerTraining, longer_plan
from model_search.trainers.finish_study import study_parts
from model_search.trainers.finished_models import FinishedTowers
from model_search.trainers.interrupts import Interrupts, TrialInterruptedError
from model_search.trainers.options import AUTO_REFIT, REFIT_SHARE, SearchOptions
from model_search.trainers.progress import ProgressDisplay
from model_search.trainers.session import Session
from model_search.training.evaluator import Evaluator
from model_search.training.outcome import Progress, TrialOutcome

NO_STUDENT = "no student is made: its time goes to the final training; finish='distil' makes one"
MARGIN = 1.3  # of the seconds that a training took, for one on more rows
CONTINUED_SHARE = 1 / 3  # of the steps of a longer training, for which its tower goes on with all rows
_LEAST_CONTINUED = 0.25  # of these; fewer are not worth the time
_LOWER_RATE = 0.5  # of the learning rate: a tower that goes on with some more rows keeps what it has learnt
_FEWEST_MODELS = 2  # on all rows, in place of the models of a bag, which lack some each: one is no better than these


def with_refit(session: Session, options: SearchOptions, has_final_training: bool) -> SearchOptions:
    """The options with a yes or a no in place of "auto".

    Yes, with a time limit, for a table of columns: a fifth of the rows more is worth more than a fifth of the trials.
    After a final training, which its towers go on with; it takes the time of a student, too, where both an ensemble and
    a student are wanted: a student is not trained on all rows, and is worth less than what is. And for bags of
    sequences that have a few groups, such as speakers: each model of a bag lacks one of them.

    Args:
        session: The study.
        options: With a number of folds, or none.
        has_final_training: Whether the specification has a final training.
    """
    if options.refit != AUTO_REFIT:
        return options
    data = session.data
    is_usual = (
        isinstance(data, TableData)
        and _is_worthwhile(data, options, has_final_training)
        and _has_more_rows(data)
        and not data.other_tasks
        and options.time_limit is not None
        and options.finish != "neither"
        and session.planner.replayed_towers is None
    )
    is_trained_longer = is_usual and has_final_training and not isinstance(options.folds, int)
    finish = "ensemble" if is_trained_longer and options.finish == "both" else options.finish
    return dataclasses.replace(options, refit=is_usual, finish=finish)


def _is_worthwhile(data: TableData, options: SearchOptions, has_final_training: bool) -> bool:
    is_of_columns = data.description.get("schema") is not None and not data.lengths
    if isinstance(options.folds, int):
        return are_refit(options.folds) if data.lengths else is_of_columns and not has_final_training
    return is_of_columns or has_final_training


def _has_more_rows(data: PreparedData) -> bool:
    """Whether the rows that the search has validated on can be trained on: not if they were given, nor of a stream."""
    return isinstance(data, TableData) and data.description.get("split", {}).get("by") != GIVEN_VALIDATION


def drop_student(session: Session, options: SearchOptions, is_refit: bool) -> None:
    """Before the final stage: drops a student that the study has and that is not as it is asked for now.

    It has more parameters than it may have now; the stage makes another one if it can. Or what is handed back is to be
    trained on all rows, which a student is not, and there is what can be.

    Args:
        session: The study; its store is open.
        options: What the user asked for.
        is_refit: Whether that is to hand back, in place of ensemble and student, what is trained on all rows.
    """
    made = session.store.final_models()
    student = next((model for model in made if model.kind is FinalKind.STUDENT), None)
    if student is None:
        return
    most, kept = options.student_parameters, [model for model in made if model is not student]
    if is_refit and _has_more_rows(session.data) and _has_what_can_be_refit(session, kept):
        said = "the study's student is dropped: refit=True hands back what is trained on all rows, which it is not"
    elif wants_student(options.finish) and most is not None and student.parameters > most:
        said = f"the study's student has {student.parameters:,} parameters, and may have {most:,} now: it is dropped"
    else:
        return
    if session.store.save_final_models(kept, instead_of=made):  # others are another process' latest, which stay
        ProgressDisplay(session.record.metric, options.number_models, options.progress).warn(said)


def _has_what_can_be_refit(session: Session, final_models: Sequence[FinalModel]) -> bool:
    """Whether some of what is the best of these models and of the trials can be trained on all rows."""
    study = study_parts(session.folder, session.store, session.artefacts)
    if not study.completed:
        return False
    return any(map(_can_be_refit, _towers(ranked_models(study.history, final_models)[0], study.history)))


def refit_best(session: Session, options: SearchOptions, deadline: Deadline, is_asked: bool = False) -> None:
    """Trains what is handed back again on training and validation rows; its metrics stay.

    It is trained for the same epochs; what was trained longer goes on from its weights. Only towers by themselves,
    classic models and the towers of bags of few folds are: models of other bags have seen nearly all rows, students and
    what was trained from other towers keep their weights, and so does what has no time any more.

    Args:
        session: The study; its store is open.
        options: What the user asked for, with a yes or a no to this.
        deadline: When it has to be done.
        is_asked: Whether the user has asked for it, who then is told where a student is handed back, which stays.

    Raises:
        KeyboardInterrupt: after Ctrl-C; what is trained by then is stored.
    """
    data = session.data
    if options.refit is not True:
        return
    display = ProgressDisplay(session.record.metric, options.number_models, options.progress)
    if not isinstance(data, TableData) or not _has_more_rows(data):
        display.warn(
            "refit has no effect: the data are a stream, or validation rows were given, which are not trained on"
        )
        return
    study = study_parts(session.folder, session.store, session.artefacts)
    if not study.completed:
        return
    best = ranked_models(study.history, session.store.final_models())[0]
    if is_asked and isinstance(best, FinalModel) and best.kind is FinalKind.STUDENT and best.plan is not None:
        display.warn(
            "refit has no effect: the best model is the student, which keeps its weights; with finish='both' there is "
            "no student, and the best of the other models is trained on all rows"
        )
    known = session.store.files()
    waiting = [
        trial for trial in _towers(best, study.history) if refit_weights(trial.id) not in known and _can_be_refit(trial)
    ]
    if not waiting:
        return
    rows = concatenate([data.train, data.valid])
    settings = dataclasses.replace(session.settings, keep_train_logits=False, on_all_rows=True)
    engines: dict[bool, Evaluator] = {}
    done = failed = 0
    with Interrupts(deadline) as interrupts:
        for place, trial in enumerate(waiting):
            if trial.plan is None or trial.result is None:
                continue
            is_bag, goes_on = trial.plan.is_bag, _goes_on(trial)
            left = deadline.remaining / (len(waiting) - place) if is_bag or goes_on else deadline.remaining
            found = plan_of_all_rows(trial, growth_of(data), left)
            if found is None:
                continue
            if is_bag not in engines:  # a bag divides training and validation rows itself
                given = data if is_bag else dataclasses.replace(data, train=rows)
                engines[is_bag] = session.make_engine(given, settings)[0]
            engine = engines[is_bag]
            towers = FinishedTowers(study.history, session.artefacts, engine, stream=False) if goes_on else None
            outcome = _trained(engine, *found, interrupts, towers)
            if interrupts.asked or interrupts.out_of_time:
                break
            metric, objective = session.record.metric, session.settings.objective
            if outcome is None or objective.better(trial.result.metrics.get(metric), outcome.metrics.get(metric)):
                failed += 1  # worse on rows that it has seen than before on rows that it had not
                continue
            weights = outcome.weights
            session.store.save_file(save_arrays(session.artefacts, None, refit_weights(trial.id), weights))
            done += 1
    if interrupts.asked:
        raise KeyboardInterrupt
    left_out = {"no time was left": len(waiting) - done - failed, "training failed or led to a worse one": failed}
    said = "".join(f"; for {count} {reason}" for reason, count in left_out.items() if count)
    display.note(f"refit: {done} of {len(waiting)} models were trained again on all {len(rows):,} rows{said}")


def seconds_to_refit(session: Session, options: SearchOptions, deadline: Deadline) -> float:
    """Seconds that the final stage leaves: two tenths of the time limit, or what the best towers are said to need."""
    if are_refit(options.folds):  # bags have fewer models on all rows where there is no time for as many
        return REFIT_SHARE * (options.time_limit or 0.0) if options.refit is True else 0.0
    share = options.share_to_refit * (options.time_limit or 0.0)
    if not share or not isinstance(session.data, TableData):
        return share
    study = study_parts(session.folder, session.store, session.artefacts)
    if not study.completed:
        return share
    best = ranked_models(study.history, [])[0]
    towers, growth = _towers(best, study.history), growth_of(session.data)
    in_turn = sum(CONTINUED_SHARE * _seconds(trial, of_all=False) for trial in towers if _goes_on(trial))
    needed = in_turn + max((_seconds(trial) * growth for trial in towers if not _goes_on(trial)), default=0.0)
    return max(share, min(needed, deadline.remaining - (options.seconds_to_finish - share)))


def growth_of(data: TableData) -> float:
    """All rows, in training rows."""
    return (len(data.train) + len(data.valid)) / len(data.train)


def _towers(best: Trial | FinalModel, history: History) -> list[Trial]:
    """The trials whose towers a model consists of, the heaviest members first."""
    trials = [best] if isinstance(best, Trial) else [history.get(member.trial) for member in best.members]
    numbers = dict.fromkeys(
        number for trial in trials if trial is not None and trial.plan is not None for number in trial.plan.towers
    )
    return [trial for trial in map(history.get, numbers) if trial is not None]


def are_refit(folds: int | str | None) -> bool:
    """Whether the towers of a bag of so many folds are trained again on all rows: each lacks more than an eighth."""
    return isinstance(folds, int) and 0 < folds < FOLDS


def _can_be_refit(trial: Trial) -> bool:
    plan = trial.plan
    if plan is None:
        return False
    if plan.is_bag:
        return are_refit(plan.folds) and plan.classic is None
    return (plan.can_train_longer and plan.is_in_full) or plan.classic is not None


def plan_of_all_rows(trial: Trial, growth: float, seconds: float) -> tuple[TrialPlan, int] | None:
    """A plan for as many epochs, and the step at which the weights are those of the step that was best before.

    What was trained longer goes on from its weights instead, for a third of these steps.

    Args:
        trial: A completed one.
        growth: All rows, in training rows.
        seconds: That the training may take. A bag has fewer models on all rows where there is no time for as many, and
            what goes on does so for fewer steps.

    Returns:
        None where there is no time.
    """
    plan, result = trial.plan, trial.result
    if plan is None or result is None:
        return None
    if plan.is_bag:  # its steps are those on the training rows already
        of_one = _seconds(trial) / (plan.folds - 1)
        models = min(plan.folds, math.floor(min(seconds, 1e9) / max(of_one, 1e-9)))
        return (dataclasses.replace(plan, folds=models), result.best_step) if models >= _FEWEST_MODELS else None
    if _goes_on(trial):
        return _plan_to_go_on(trial, plan, seconds)
    if _seconds(trial) * growth > seconds:
        return None
    if plan.classic is not None:  # the rounds that were best, and no others
        plan = dataclasses.replace(with_length_of(plan, max(1, result.best_step)), kind=TrialKind.BAGGING, parent=None)
        return plan, plan.steps
    steps = max(1, round(plan.steps * growth))
    # What continued another trial is trained in one go: its weights have not seen the validation rows yet.
    fresh = dataclasses.replace(plan, steps=steps, start=None, first_step=0, rung=0, bracket=0)
    return fresh, max(1, round(result.best_step * growth))


def _goes_on(trial: Trial) -> bool:
    """Whether a trial goes on from its weights on all rows, since training it in one go takes too long."""
    return trial.plan is not None and trial.plan.kind is TrialKind.LONGER


def _end_of(trial: Trial, plan: TrialPlan) -> int:
    """The step after which a trial ended: a longer training may have run out of time."""
    stopped_at = None if trial.result is None else trial.result.stopped_at
    return plan.steps if stopped_at is None else max(stopped_at, plan.first_step + 1)


def _plan_to_go_on(trial: Trial, plan: TrialPlan, seconds: float) -> tuple[TrialPlan, int] | None:
    """A plan that goes on from the weights of a longer training, in one more cycle of a lower learning rate."""
    made = _end_of(trial, plan) - plan.first_step
    of_one = _seconds(trial, of_all=False) / made
    steps = max(1, round(CONTINUED_SHARE * made))
    affordable = math.floor(min(seconds / max(of_one, 1e-9), steps))
    if affordable < max(1.0, _LEAST_CONTINUED * steps):
        return None
    longer = longer_plan(trial.id + 1, trial, LongerTraining(affordable))
    rate = longer.hyperparameters.get("learning_rate")
    lower = {"learning_rate": _LOWER_RATE * float(rate)} if rate is not None else {}
    return dataclasses.replace(longer, hyperparameters=dict(longer.hyperparameters) | lower), longer.steps


def _trained(
    engine: Evaluator, plan: TrialPlan, until: int, interrupts: Interrupts, towers: FinishedTowers | None
) -> TrialOutcome | None:
    """The outcome; None where it fails, time is up, or Ctrl-C was pressed.

    Args:
        engine: Trains on all rows.
        plan: What it trains.
        until: The step after which it ends.
        interrupts: Tell that it has to end at once.
        towers: Have the weights that the plan goes on from; None for a plan from fresh weights.
    """

    def on_progress(progress: Progress) -> bool:
        if interrupts.asked or interrupts.out_of_time:
            raise TrialInterruptedError("refit")
        return progress.step >= until and plan.classic is None

    try:
        return engine.run(plan, None if towers is None else towers.given(plan), on_progress)
    except (TrialInterruptedError, TrialError):
        return None


def _seconds(trial: Trial, of_all: bool = True) -> float:
    """Seconds of the tower's training from fresh weights on the training rows, with a margin.

    Args:
        trial: A completed one.
        of_all: Whether those of the trials that it goes on from are among them.
    """
    timings = {} if trial.result is None else trial.result.timings
    plan = trial.plan
    taken = 1.0 if plan is None or not of_all else (plan.steps - plan.first_step) / plan.steps
    return MARGIN * timings.get("trial", timings.get("total", 0.0)) / taken
