"""Blocks for tables: encodings of columns, and bodies that read what they make."""
