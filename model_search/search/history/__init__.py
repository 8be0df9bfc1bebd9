"""What a search knows of the trials so far."""
