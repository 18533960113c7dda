"""The randomness of a search: root noise and the seed of random ties, from one integer drawn from a generator.

Axes: B roots, A actions.
"""

from dataclasses import dataclass

import numpy as np
import torch

from speedyzero.config import SearchConfig


@dataclass(frozen=True)
class SearchNoise:
    """A search's random inputs; None if the configuration uses none."""

    root: torch.Tensor | None  # [B, A] float32: Dirichlet (puct) or standard Gumbel (gumbel)
    tie_seed: int | torch.Tensor | None  # 32 bits; in device memory as [1] int64


def draw_noise(
    policy_logits: torch.Tensor, config: SearchConfig, given: torch.Tensor | None, generator: torch.Generator | None
) -> SearchNoise:
    """The noise of one search of the roots [B, A]: `given`, or drawn if that is None.

    Exactly one integer is drawn from the generator (torch's default one without), or nothing if it isn't needed.
    """
    is_puct = config.algorithm == "puct"
    needs_root = (config.root_noise_fraction if is_puct else config.gumbel_scale) > 0
    needs_ties = is_puct and config.first_pick == "uniform"
    draws_root = needs_root and given is None
    if not (draws_root or needs_ties):
        return SearchNoise(given if needs_root else None, None)

    device = "cpu" if generator is None else generator.device
    seed = int(torch.randint(2**32, (), generator=generator, device=device))
    root = given if needs_root else None
    if draws_root:
        batch, actions = policy_logits.shape
        rng = np.random.default_rng(seed)
        if is_puct:
            sample = rng.dirichlet(np.full(actions, config.root_dirichlet_alpha), size=batch)
        else:
            sample = rng.gumbel(size=(batch, actions))
        root = torch.from_numpy(sample.astype(np.float32)).to(policy_logits.device)
    return SearchNoise(root, seed if needs_ties else None)
