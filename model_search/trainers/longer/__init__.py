"""Longer training of towers that were trained: when a user asks for it, and at the end of a search."""
