"""The network of linear layers."""

import torch
from torch import nn

from tests.model.networks import TINY_MODEL, VECTOR_SPEC, tiny_network


def test_rows_do_not_see_each_other():
    """No batch statistics, in training mode too, but in the projector, which acting never uses."""
    network = tiny_network(VECTOR_SPEC)
    assert not network.norm_mixes_batch
    normed = {name.split(".")[0] for name, part in network.named_modules() if isinstance(part, nn.BatchNorm1d)}
    assert normed == {"projector", "predictor"}
    x, action = torch.rand(5, 6), torch.arange(5)
    whole = network.dynamics(network.represent(x), action, network.initial_prefix_state(5))
    row = network.dynamics(network.represent(x[2:3]), action[2:3], network.initial_prefix_state(1))
    torch.testing.assert_close(row.latent[0], whole.latent[2])
    torch.testing.assert_close(row.prefix_logits[0], whole.prefix_logits[2])


def test_the_prefix_depends_on_the_recurrent_state_and_the_latent_does_not():
    network = tiny_network(VECTOR_SPEC)
    latent, action = torch.rand(2, TINY_MODEL.mlp_latent), torch.tensor([1, 2])
    first = network.dynamics(latent, action, network.initial_prefix_state(2))
    again = network.dynamics(latent, action, first.prefix_state)
    assert torch.equal(first.latent, again.latent)
    assert (first.prefix_logits - again.prefix_logits).abs().max() > 1e-4
