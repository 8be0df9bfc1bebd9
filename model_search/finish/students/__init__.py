"""The small model that learns from the final ensemble, or is a part of it."""
