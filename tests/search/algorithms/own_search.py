"""A search of a user's own, as docs/search.md shows it: one file, with one setting."""

from model_search import Proposal, SearchAlgorithm, Setting, register_search


@register_search(
    "CHANGE_OF_THE_BEST",
    settings=[Setting("share_of_random", 0.2, minimum=0, maximum=1)],
    describe="a change of the best tower so far, or a random one.",
)
class ChangeOfTheBest(SearchAlgorithm):
    """Changes the best tower at one place; some proposals are random."""

    def __init__(self, grammar, share_of_random):
        super().__init__(grammar)
        self.share_of_random = share_of_random

    def propose(self, history, rng):
        best = history.best(1)
        allowed = self.grammar.allowed_depth(history.completed_count)
        if not best or rng.random() < self.share_of_random:
            return Proposal(self.grammar.random_of_any_depth(rng, allowed))
        return Proposal(self.grammar.vary(best[0].plan.architecture, rng, allowed), parent=best[0].id)
