"""Architectures, hyperparameters, history, search algorithms and the planner. Never imports TensorFlow."""
