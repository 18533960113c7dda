"""Metrics of a step's trust ratios: over all layers, and per module of the network."""

from __future__ import annotations

import statistics
from collections.abc import Mapping

# A layer's module is the first word of its name; these are EfficientZero's first dynamics layer, the MLP's prefix head.
_MODULES = {"action": "dynamics", "lstm": "prefix"}


def trust_ratio_figures(layers: Mapping[str, tuple[float, float]]) -> dict[str, float]:
    """Metrics by name, from `ClippedLARS.trust_ratios_by_layer`; of each module the largest ratio before the clip."""
    before, after = zip(*layers.values(), strict=True)
    figures = {
        "learner/trust_ratio_min": min(after),
        "learner/trust_ratio_median": statistics.median(after),
        "learner/trust_ratio_largest_unclipped": max(before),
        "learner/trust_ratio_share_clipped": sum(b > a for b, a in layers.values()) / len(layers),
    }
    for layer, (ratio, _) in layers.items():
        word = layer.partition(".")[0].partition("_")[0]
        name = f"learner/trust_ratio_unclipped/{_MODULES.get(word, word)}"
        figures[name] = max(ratio, figures.get(name, ratio))
    return figures
