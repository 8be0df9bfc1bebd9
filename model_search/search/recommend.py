"""The recommendation of a study, where user code imports it from."""

from model_search.search.predictor.recommend import is_in_full, recommend, recommend_for

__all__ = ["is_in_full", "recommend", "recommend_for"]
