"""What may be searched: architectures, their grammar, and the space of hyperparameters."""
