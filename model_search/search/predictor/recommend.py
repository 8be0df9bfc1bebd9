"""Which trial a study recommends: the best one behind the noise, not the luckiest one."""

from __future__ import annotations

from model_search.errors import DamagedRecordError, SpecError
from model_search.metadata.store import StudyRecord
from model_search.metadata.trial import Trial
from model_search.search.algorithms.tower_search import one_thread
from model_search.search.history.history import History
from model_search.search.predictor.predictor import Predictor
from model_search.search.space.grammar import Grammar
from model_search.spec.load import stored_spec

LEAST_TRIALS = 10
# How much of what a trial reached beyond what is expected of it is taken to be its own, not luck, at most.
MOST_OWN = 0.5


def recommend(history: History, grammar: Grammar) -> Trial | None:
    """The completed trial that is most likely the best if all were trained and validated again.

    The best of many noisy results is mostly a lucky one. A predictor that has learnt from all trials says what is to
    be expected of each; of what a trial deviates from that, as much is believed as the predictor fails to foresee, and
    at most half. Trials that are not of one tower's own training (ensembles, distilled ones) are never recommended by
    it: their noise is not that of the others.

    Args:
        history: The study's trials.
        grammar: The architectures that its search speaks of.

    Returns:
        None where no trial is completed; the best one where fewer than ten are.
    """
    best = history.best(1)
    if not best or not Predictor.can_learn(history, LEAST_TRIALS):
        return best[0] if best else None
    predictor = Predictor(history, grammar)
    own = min(1 - predictor.skill, MOST_OWN)
    believed = (1 - own) * predictor.expected + own * predictor.targets
    return predictor.tried[int(believed.argmax())].trial


def recommend_for(record: StudyRecord, history: History) -> Trial | None:
    """The trial that a stored study recommends, by the specification that it was last continued with.

    Only trials that were trained in full are compared, as results of shorter trainings tell of something else. Where
    the specification has blocks that this process does not know, or cannot be read, it is the best trial.

    Returns:
        None where no trial is completed.
    """
    in_full = [trial for trial in history.trials if is_in_full(trial)]
    if len(in_full) < len(history):
        full = History(history.ranking)
        full.update(in_full)
    else:
        full = history
    try:
        spec = stored_spec(record.settings.get("spec") or record.spec_text, record.name)
        with one_thread():
            recommended = recommend(full, Grammar.of(spec))
    except (DamagedRecordError, SpecError):
        recommended = None
    return recommended or next(iter(history.best(1)), None)


def is_in_full(trial: Trial) -> bool:
    """Whether a trial was planned to train for all steps, on all rows."""
    return trial.plan is not None and trial.plan.is_in_full
