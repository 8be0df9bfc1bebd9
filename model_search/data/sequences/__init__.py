"""Sequences: ragged and padded arrays, files of sequences, and turning them into rows."""
