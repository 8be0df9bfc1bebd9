"""Which trial does what: the rules of the planner, one file each. A new rule is a new file here."""
