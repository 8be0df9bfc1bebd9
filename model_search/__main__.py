"""`python -m model_search` is the `model_search` command."""

from model_search.main import run

run()
