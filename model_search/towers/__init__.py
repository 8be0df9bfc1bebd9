"""Architectures turned into Keras models."""
