"""Metrics of a step's trust ratios: over all layers, and per module of the network."""

from __future__ import annotations

from speedyzero.learner.clipped_lars import TrustRatioSummary

# By the first word of a parameter's name. Metric names are fixed before the network is built, so each module's largest
# ratio is recorded instead of every layer's.
_PARTS = {
    "representation": "learner/trust_ratio_unclipped/representation",
    "action": "learner/trust_ratio_unclipped/dynamics",  # the first layer of EfficientZero's
    "dynamics": "learner/trust_ratio_unclipped/dynamics",
    "prefix": "learner/trust_ratio_unclipped/prefix",
    "lstm": "learner/trust_ratio_unclipped/prefix",  # of the MLP's prefix head
    "prediction": "learner/trust_ratio_unclipped/prediction",
    "policy": "learner/trust_ratio_unclipped/policy",
    "value": "learner/trust_ratio_unclipped/value",
    "projector": "learner/trust_ratio_unclipped/projector",
    "predictor": "learner/trust_ratio_unclipped/predictor",
}


def trust_ratio_figures(ratios: TrustRatioSummary) -> dict[str, float]:
    """Metrics by name. A module's figure is the largest ratio of its layers before the clip.

    Raises ValueError for a layer of an unknown module.
    """
    figures = {
        "learner/trust_ratio_min": ratios.minimum,
        "learner/trust_ratio_median": ratios.median,
        "learner/trust_ratio_largest_unclipped": ratios.largest_unclipped,
        "learner/trust_ratio_share_clipped": ratios.share_clipped,
    }
    for layer, ratio in ratios.layers.items():
        part = layer.partition(".")[0].partition("_")[0]
        if part not in _PARTS:
            raise ValueError(f"layer {layer} belongs to no known module: {', '.join(_PARTS)}")
        figures[_PARTS[part]] = max(ratio.unclipped, figures.get(_PARTS[part], ratio.unclipped))
    return figures
