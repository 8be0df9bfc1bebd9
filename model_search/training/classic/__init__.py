"""Models that are no networks: trained with scikit-learn, stored as arrays of numbers, evaluated by NumPy."""
