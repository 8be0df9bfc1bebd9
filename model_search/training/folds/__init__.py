"""Bags: a model trained without each fold of the rows in turn, and what it predicts for the fold left out."""
