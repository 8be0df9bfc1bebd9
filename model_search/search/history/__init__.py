"""The history of trials that searches read."""
