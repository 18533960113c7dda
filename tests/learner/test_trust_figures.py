"""Trust ratios by part of the network."""

import pytest

from speedyzero.learner.clipped_lars import ClippedLARS, LayerTrustRatio, TrustRatioSummary, parameter_groups
from speedyzero.learner.trust_figures import trust_ratio_figures
from tests.model.networks import IMAGE_SPEC, VECTOR_SPEC, tiny_network

PART = "learner/trust_ratio_unclipped/"


def summary(**unclipped: float) -> TrustRatioSummary:
    layers = {name.replace("__", "."): LayerTrustRatio(ratio, min(ratio, 1.0)) for name, ratio in unclipped.items()}
    return TrustRatioSummary(0.1, 0.2, 0.3, 0.4, layers)


def test_a_part_s_figure_is_its_farthest_layer_before_the_clip():
    figures = trust_ratio_figures(
        summary(dynamics_block__first=3.0, action_conv__layer=5.0, dynamics_block__second=4.0, value_head__hidden=0.5)
    )
    assert figures == {
        "learner/trust_ratio_min": 0.1,
        "learner/trust_ratio_median": 0.2,
        "learner/trust_ratio_largest_unclipped": 0.3,
        "learner/trust_ratio_share_clipped": 0.4,
        f"{PART}dynamics": 5.0,
        f"{PART}value": 0.5,
    }


@pytest.mark.parametrize("prefix_horizon", [0, 5])
@pytest.mark.parametrize("spec", [IMAGE_SPEC, VECTOR_SPEC], ids=["image", "vector"])
def test_every_scaled_layer_of_our_networks_has_a_part(spec, prefix_horizon):
    network = tiny_network(spec, prefix_horizon=prefix_horizon)
    optimizer = ClippedLARS(parameter_groups(network, weight_decay=0.0), lr=0.0)
    for parameter in network.parameters():
        parameter.grad = parameter.detach() + 1.0
    optimizer.step()
    ratios = optimizer.trust_ratio_summary()
    assert ratios is not None
    figures = trust_ratio_figures(ratios)
    assert {f"{PART}{part}" for part in ("representation", "dynamics", "policy", "value", "projector")} <= set(figures)
