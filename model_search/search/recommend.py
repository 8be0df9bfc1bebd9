"""Which trial a study recommends: the best one behind the noise, not the luckiest one."""

from __future__ import annotations

from model_search.metadata.trial import Trial
from model_search.search.grammar import Grammar
from model_search.search.history import History
from model_search.search.predictor import Predictor

LEAST_TRIALS = 10
# How much of what a trial reached beyond what is expected of it is taken to be its own, not luck.
OWN_SHARE = 0.3


def recommend(history: History, grammar: Grammar) -> Trial | None:
    """The completed trial that is most likely the best if all were trained and validated again.

    The best of many noisy results is mostly a lucky one. A predictor that has learnt from all trials says what is to
    be expected of each; three tenths of what a trial deviates from that are believed. Trials that are not of one
    tower's own training (ensembles, distilled ones) are never recommended by it: their noise is not that of the others.

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
    believed = (1 - OWN_SHARE) * predictor.expected + OWN_SHARE * predictor.targets
    return predictor.tried[int(believed.argmax())].trial
