"""Blocks that read sequences, [steps, width], with the number of valid steps of each."""
