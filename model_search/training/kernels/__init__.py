"""Towers with fast kernels: the same function, the same weights in the same order, less time."""
