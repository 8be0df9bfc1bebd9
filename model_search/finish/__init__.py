"""What comes out of a search: ensembles, a distilled student, predictions and exported models."""
