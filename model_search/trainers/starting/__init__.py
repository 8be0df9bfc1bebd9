"""Trained models that are given to a study, whose towers may start from their weights."""
