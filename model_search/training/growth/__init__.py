"""Towers that begin as the function of a smaller, trained one."""
