"""Batched tree search over a learned model. The model is passed as a function; the trees are in `kernels`."""

from speedyzero.config import SearchConfig
from speedyzero.search.interface import RecurrentFn, RootOutput, SearchResult, StepBuffers, StepModel, StepOutput
from speedyzero.search.searcher import LAUNCHES, Searcher
from speedyzero.search.state_step import StateStep
from speedyzero.search.tree_search import search

__all__ = [
    "LAUNCHES",
    "RecurrentFn",
    "RootOutput",
    "SearchConfig",
    "SearchResult",
    "Searcher",
    "StateStep",
    "StepBuffers",
    "StepModel",
    "StepOutput",
    "search",
]
