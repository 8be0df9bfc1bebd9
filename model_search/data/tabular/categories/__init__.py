"""Columns with more categories than get features of their own."""
