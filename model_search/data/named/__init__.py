"""Rows with several inputs by name: pictures, sequences, vectors and text, each read by a tower of its own."""
