"""Trust ratios by part of the network."""

import pytest

from speedyzero.learner.clipped_lars import ClippedLARS, parameter_groups, trust_ratio_figures
from tests.model.networks import IMAGE_SPEC, VECTOR_SPEC, tiny_network

PART = "learner/trust_ratio_unclipped/"


def layers(**unclipped: float) -> dict[str, tuple[float, float]]:
    """Clipped at 4."""
    return {name.replace("__", "."): (ratio, min(ratio, 4.0)) for name, ratio in unclipped.items()}


def test_a_part_s_figure_is_its_farthest_layer_before_the_clip():
    figures = trust_ratio_figures(
        layers(dynamics_block__first=3.0, action_conv__layer=5.0, dynamics_block__second=4.0, value_head__hidden=0.5)
    )
    assert figures == {
        "learner/trust_ratio_min": 0.5,
        "learner/trust_ratio_median": 3.5,
        "learner/trust_ratio_largest_unclipped": 5.0,
        "learner/trust_ratio_share_clipped": 0.25,
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
    ratios = optimizer.trust_ratios_by_layer()
    figures = trust_ratio_figures(ratios)
    assert {f"{PART}{part}" for part in ("representation", "dynamics", "policy", "value", "projector")} <= set(figures)
