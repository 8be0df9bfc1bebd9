"""Cells: their operations, towers that repeat them, and recurrent cells."""
