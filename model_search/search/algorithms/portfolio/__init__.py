"""The newest version of the default search; the earlier ones are beside this folder."""

from model_search.search.algorithms.portfolio import process_portfolio as process_portfolio
