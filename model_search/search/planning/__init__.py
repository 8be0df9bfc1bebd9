"""Which trial does what: the planner and its rules."""
