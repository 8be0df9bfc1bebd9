"""Sound: reading recordings and turning them into sequences of log-mel features."""
