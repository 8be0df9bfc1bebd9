"""Limits of what one trial may take."""
