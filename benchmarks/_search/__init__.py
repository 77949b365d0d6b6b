"""Search for the best setting with Optuna: batches of trials, run side by side, pruned by successive halving."""

from benchmarks._search.search import SearchResult as SearchResult
from benchmarks._search.search import search as search
