"""The random-search baseline, where user code imports it from."""

from model_search.search.planning.random_baseline import Baseline, expected_best, random_baseline

__all__ = ["Baseline", "expected_best", "random_baseline"]
