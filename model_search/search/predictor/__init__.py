"""A predictor of results that learns from the history."""
