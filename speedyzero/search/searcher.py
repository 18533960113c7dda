"""Searches with one model whose memory and captured graphs are kept between searches. See docs/design/search.md.

Owned by whoever owns the model's weights (the agent), and gone with it: a graph reads the addresses that it was
captured with, so it may not outlive them, and the weights must change in place.

Axes: B roots, A actions.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable

import torch

from speedyzero.config import SearchConfig
from speedyzero.search.checks import backend_for, check_root
from speedyzero.search.interface import RootOutput, SearchResult, StepModel
from speedyzero.search.noise import draw_noise
from speedyzero.search.static_search import StaticSearch

# eager: every operation on its own; simulation: one captured simulation replayed for each; whole: one replay a search.
LAUNCHES = ("eager", "simulation", "whole")
DEFAULT_LAUNCH = "whole"  # the fewest launches; which one measures best was not yet seen on a GPU
SMALLEST_BATCH = 16  # the rows of a tensor core's product, and an actor's default number of environments
LARGEST_DOUBLED_BATCH = 256


def padded_batch(batch: int) -> int:
    """The batch size that is searched for `batch` roots: 16, 32, 64, 128, 256, 384, 512, 768, 1024, 1536, ...

    Few sizes, so that few graphs are captured and kept. Up to 256 roots a convolution's tiles (128 of 49 rows each) are
    fewer than an H100's or H200's 132 multiprocessors, and what is padded costs no time; above, at most a third is.
    """
    size = SMALLEST_BATCH
    while size < batch:
        size *= 2
    three_quarters = size * 3 // 4
    return three_quarters if size > LARGEST_DOUBLED_BATCH and three_quarters >= batch else size


class Searcher:
    """`search` by Triton's kernels, for one model, in one launch."""

    def __init__(
        self,
        model: StepModel,
        *,
        launch: str = DEFAULT_LAUNCH,
        pad: Callable[[int], int] | None = None,
        capture_mode: str = "real",
    ):
        """launch: one of LAUNCHES; on the CPU none is captured. pad: from a batch to the one that is searched; None:
        padded_batch on a GPU, elsewhere as it is.

        capture_mode: as `Graphed`'s. Raises ValueError for another launch.
        """
        if launch not in LAUNCHES:
            raise ValueError(f"launch={launch}: must be one of {', '.join(LAUNCHES)}")
        self._model, self._launch, self._pad, self._capture_mode = model, launch, pad, capture_mode
        self._kept: dict[Hashable, StaticSearch] = {}

    @property
    def kept(self) -> list[StaticSearch]:
        """What has its memory and graphs: one for each padded batch, configuration and kind of state."""
        return list(self._kept.values())

    def search(
        self,
        root: RootOutput,
        config: SearchConfig,
        noise: torch.Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> SearchResult:
        """As the function `search`, with the same results; nothing of what it returns is overwritten later.

        Raises ValueError as it does, and for a backend other than triton.
        """
        backend = backend_for(config.backend, root.policy_logits.device)
        if backend != "triton":
            raise ValueError(f"search.backend={config.backend} is {backend} here: only triton searches in one launch")
        check_root(root, config, noise)
        batch, actions = root.policy_logits.shape
        with torch.inference_mode():
            chance = draw_noise(root.policy_logits, config, noise, generator)
            pad = self._pad or (padded_batch if root.value.is_cuda else int)
            padded = pad(batch)
            states = tuple((key, tensor.shape[1:], tensor.dtype) for key, tensor in sorted(root.state.items()))
            key = padded, actions, config, states
            if key not in self._kept:
                self._kept[key] = StaticSearch(
                    self._model, root, chance, config,
                    batch=padded, launch=self._launch, capture_mode=self._capture_mode,
                )  # fmt: skip
            static = self._kept[key]
            static.fill(root, chance)
            found = static.launch()
        with torch.no_grad():  # not inference tensors: results may enter a loss
            return SearchResult(**{name: tensor[:batch].clone() for name, tensor in vars(found).items()})
