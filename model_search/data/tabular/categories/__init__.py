"""Columns with more categories, or codes, than get features of their own."""
