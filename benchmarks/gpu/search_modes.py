"""The ways a search can be launched, for the stages that compare them. See docs/design/search.md."""

from __future__ import annotations

from collections.abc import Callable

import torch

from speedyzero.search import RecurrentFn, RootOutput, SearchConfig, Searcher, SearchResult, StateStep, search

FUNCTION = "function"  # search() of a closure, which keeps nothing between calls
LAUNCHES = {"eager": "eager", "per-simulation graph": "simulation", "whole graph": "whole"}
MODES = (FUNCTION, *LAUNCHES)
CALLS_TO_REPLAY = 3  # the first call runs eagerly, the second captures and replays, all others replay

Search = Callable[[torch.Tensor, torch.Generator | None], SearchResult]


def searcher(mode: str, root: RootOutput, recurrent: RecurrentFn, config: SearchConfig) -> Search:
    """A function of the noise and the generator that searches from the roots."""
    if mode == FUNCTION:
        return lambda noise, generator: search(root, recurrent, config, noise, generator)
    kept = Searcher(StateStep(recurrent), launch=LAUNCHES[mode])
    return lambda noise, generator: kept.search(root, config, noise, generator)
