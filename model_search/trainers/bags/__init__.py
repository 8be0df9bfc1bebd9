"""Bags after a search: how many folds, which models fit into the time, and their training."""
