"""Function-preserving morphisms: a larger tower that begins as the function of a smaller, trained one."""
