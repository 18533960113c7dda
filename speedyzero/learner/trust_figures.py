"""Trust ratios of a step as figures for the record: of all layers together, and of each part of the network."""

from __future__ import annotations

from speedyzero.learner.clipped_lars import TrustRatioSummary

# The first word of a parameter's name says which part it belongs to. A metric's name is fixed before there is a
# network, so parts are recorded, each with its farthest layer, and not every layer.
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
    """By metric name. A part's figure is the largest ratio of its layers before the clip.

    Raises ValueError for a layer of no known part.
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
            raise ValueError(f"layer {layer} belongs to no part of a network; there are {', '.join(_PARTS)}")
        figures[_PARTS[part]] = max(ratio.unclipped, figures.get(_PARTS[part], ratio.unclipped))
    return figures
