"""Searches with one model that keep their memory and captured graphs. See docs/design/search.md.

Owned by the owner of the model's weights (the agent) and freed with it: graphs read the addresses that they were
captured with, so they must not outlive the weights, which must change in place.

Axes: B roots, A actions.
"""

from collections.abc import Callable, Hashable

import torch

from speedyzero.config import SearchConfig
from speedyzero.search.checks import backend_for, check_root
from speedyzero.search.interface import RootOutput, SearchResult, StepModel
from speedyzero.search.noise import draw_noise
from speedyzero.search.static_search import StaticSearch

# eager: every operation on its own; simulation: one captured simulation replayed for each; whole: one replay a search.
LAUNCHES = ("eager", "simulation", "whole")
DEFAULT_LAUNCH = "whole"  # the fewest launches; not yet compared on a GPU
SMALLEST_BATCH = 16  # the rows of a tensor core's product, and an actor's default number of environments
LARGEST_DOUBLED_BATCH = 256


def padded_batch(batch: int) -> int:
    """The padded batch size for `batch` roots: 16, 32, 64, 128, 256, 384, 512, 768, 1024, 1536, ...

    Few sizes mean few captured graphs. Up to 256 roots a convolution has fewer tiles (128 of 49 rows each) than an H100
    or H200 has multiprocessors (132), so padding costs no time; above, at most a third is padding.
    """
    size = SMALLEST_BATCH
    while size < batch:
        size *= 2
    three_quarters = size * 3 // 4
    return three_quarters if size > LARGEST_DOUBLED_BATCH and three_quarters >= batch else size


class Searcher:
    """`search` by Triton's kernels for one model, launched as a whole."""

    def __init__(
        self,
        model: StepModel,
        *,
        launch: str = DEFAULT_LAUNCH,
        pad: Callable[[int], int] | None = None,
    ):
        """launch: one of LAUNCHES; nothing is captured on the CPU. pad: from a batch size to the padded one; None:
        padded_batch on a GPU, no padding elsewhere.

        Raises ValueError for an unknown launch.
        """
        if launch not in LAUNCHES:
            raise ValueError(f"launch={launch}: must be one of {', '.join(LAUNCHES)}")
        self._model, self._launch, self._pad = model, launch, pad
        self._kept: dict[Hashable, StaticSearch] = {}

    @property
    def kept(self) -> list[StaticSearch]:
        """One static search for each padded batch, configuration and kind of state."""
        return list(self._kept.values())

    def search(
        self,
        root: RootOutput,
        config: SearchConfig,
        noise: torch.Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> SearchResult:
        """As the function `search`, with the same results, which are never overwritten.

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
                self._kept[key] = StaticSearch(self._model, root, chance, config, batch=padded, launch=self._launch)
            static = self._kept[key]
            static.fill(root, chance)
            found = static.launch()
        with torch.no_grad():  # not inference tensors: results may enter a loss
            return SearchResult(**{name: tensor[:batch].clone() for name, tensor in vars(found).items()})
