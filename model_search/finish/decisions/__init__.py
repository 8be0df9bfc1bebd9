"""From probabilities to decisions: the probability from which the second of two classes is predicted."""
