"""Pictures: finding files and their labels, decoding, and turning them into rows."""
