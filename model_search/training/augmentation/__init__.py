"""Augmentation of the rows of an update, inside the compiled loop."""
