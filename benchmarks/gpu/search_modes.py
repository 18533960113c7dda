"""The ways a search can be launched, for the stages that compare them."""

from __future__ import annotations

from collections.abc import Callable

import torch

from speedyzero.search import RecurrentFn, RootOutput, SearchConfig, SearchResult, search

MODES = ("eager",)

Searcher = Callable[[torch.Tensor, torch.Generator | None], SearchResult]


def searcher(mode: str, root: RootOutput, recurrent: RecurrentFn, config: SearchConfig) -> Searcher:
    """A function of the noise and the generator that searches from the roots."""
    return lambda noise, generator: search(root, recurrent, config, noise, generator)
