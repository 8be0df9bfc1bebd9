"""Opening a study: a new one, or an existing one that the data, specification and options fit."""
