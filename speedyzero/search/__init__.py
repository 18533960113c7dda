"""Batched tree search over a learned model. The model arrives as a function; the trees live in `kernels`."""

from speedyzero.config import SearchConfig
from speedyzero.search.interface import RecurrentFn, RootOutput, SearchResult, StepOutput
from speedyzero.search.tree_search import search

__all__ = ["RecurrentFn", "RootOutput", "SearchConfig", "SearchResult", "StepOutput", "search"]
