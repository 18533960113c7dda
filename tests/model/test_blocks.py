"""The action convolution against the concatenation that it stands for, and folded layers against batch norm."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from speedyzero.model import blocks
from speedyzero.model.blocks import (
    ActionConv,
    InputConv,
    NormedLayer,
    ResidualBlock,
    fused_norm_act,
    norm_act,
    pad_channels,
    use_norms,
)
from tests.model.networks import IMAGE_SPEC, randomise, tiny_network


def told(action, num_actions, channels, encoding):
    """What the planes are filled with, [B, P]."""
    if encoding == "scale":
        return (action / num_actions)[:, None]
    return F.one_hot(action, num_actions) * (0.5 * channels**0.5)


@pytest.mark.parametrize("encoding", ["scale", "one_hot"])
@pytest.mark.parametrize("num_actions", [4, 18])
def test_action_conv_is_the_65_channel_concatenation(num_actions, encoding):
    """In training mode: batch statistics too see what they would of the concatenation."""
    block = ActionConv(64, num_actions, folded=False, encoding=encoding)
    latent = torch.randn(num_actions, 64, 6, 6, generator=torch.Generator().manual_seed(0))
    action = torch.arange(num_actions)
    plane = told(action, num_actions, 64, encoding)[:, :, None, None].expand(-1, -1, 6, 6)
    assert plane[0].any() == (encoding == "one_hot")
    expected = F.conv2d(torch.cat([latent, plane], 1), block.layer.weight, padding=1)
    mean, variance = expected.mean((0, 2, 3)), expected.var((0, 2, 3), correction=0)
    expected = (expected - mean[:, None, None]) / torch.sqrt(variance[:, None, None] + 1e-5)
    torch.testing.assert_close(block.step(latent, action), F.relu(expected + latent), rtol=1e-4, atol=1e-5)


def test_norm_act_by_hand():
    """One column: mean 2, variance 1 (biased); normed -1 and 1, times 3, plus 0.5; then what is added, then relu."""
    norm = nn.BatchNorm1d(1)
    with torch.no_grad():
        norm.weight.fill_(3.0)
        norm.bias.fill_(0.5)
    x = torch.tensor([[1.0], [3.0]])
    torch.testing.assert_close(norm_act(x, norm), torch.tensor([[0.0], [3.5]]), rtol=1e-4, atol=1e-4)
    residual = torch.tensor([[4.0], [-1.0]])
    torch.testing.assert_close(norm_act(x, norm, residual), torch.tensor([[1.5], [2.5]]), rtol=1e-4, atol=1e-4)


def test_all_of_a_network_goes_through_it():
    """All normed layers but the projector's and predictor's, whose last ones have no ReLU."""
    network = tiny_network(IMAGE_SPEC)
    seen = set()
    for name, layer in network.named_modules():
        if isinstance(layer, NormedLayer):
            layer.norm_act = lambda x, norm, residual=None, name=name: seen.add(name) or norm_act(x, norm, residual)
    latent = network.represent(torch.rand(2, 6, 36, 36))
    network.predict(network.dynamics(latent, torch.tensor([0, 1]), network.initial_prefix_state(2)).latent)
    layers = {name for name, layer in network.named_modules() if isinstance(layer, NormedLayer)}
    assert seen == {name for name in layers if not name.startswith(("projector", "predictor"))}


@pytest.mark.parametrize("how", ["torch", "compiled", "fused"])
def test_other_forms_of_norms_are_the_norms(monkeypatch, how):
    """Outputs, gradients, running statistics and counters of a block, in training. Compiled without code generation;
    Triton's form: `tests/kernels/test_fused_norms.py`."""
    original = torch.compile
    monkeypatch.setattr(torch, "compile", lambda f, dynamic: original(f, dynamic=dynamic, backend="aot_eager"))
    plain, other = (nn.Sequential(ResidualBlock(4, folded=False)) for _ in range(2))
    randomise(plain, seed=0)
    other.load_state_dict(plain.state_dict())
    use_norms(other, how)
    assert (other[0].first.norm_act is norm_act) == (how == "torch")
    x = torch.randn(3, 4, 6, 5, generator=torch.Generator().manual_seed(1))
    results = []
    for block in (plain, other):
        leaf = x.clone().requires_grad_()
        output = block(leaf)
        (output * torch.arange(output.numel()).view_as(output).cos()).sum().backward()
        gradients = [leaf.grad, *(parameter.grad for parameter in block.parameters())]
        results.append([output.detach(), *gradients, *block.buffers()])
    torch.testing.assert_close(*results, rtol=1e-4, atol=1e-5)
    assert list(other.state_dict()) == list(plain.state_dict())


def test_fused_norms_are_for_training_alone(monkeypatch):
    """In evaluation running statistics count, and a folded layer has no norm: both go the plain way."""
    monkeypatch.setattr(blocks.fused, "norm_act", None)
    x, norm = torch.randn(3, 4, 2, 2, generator=torch.Generator().manual_seed(0)), nn.BatchNorm2d(4)
    randomise(norm, seed=1)
    for module in (norm.eval(), nn.Identity()):
        assert torch.equal(fused_norm_act(x, module, x), norm_act(x, module, x))
    with pytest.raises(TypeError, match="not callable"):
        fused_norm_act(x, norm.train())


@pytest.mark.parametrize(("channels", "to", "padded"), [(12, 16, 16), (16, 16, 16), (17, 16, 32), (5, 1, 5)])
def test_channels_are_padded_with_zeros(channels, to, padded):
    x = torch.rand(2, channels, 3, 4).contiguous(memory_format=torch.channels_last)
    result = pad_channels(x, to=to)
    assert result.shape == (2, padded, 3, 4) and result.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(result[:, :channels], x) and not result[:, channels:].any()
    assert (result is x) == (padded == channels)


@pytest.mark.parametrize("folded", [False, True])
def test_an_input_convolution_reads_padded_channels(folded):
    """The same output and the same gradient of the weights, which stay as they are."""
    torch.manual_seed(0)
    layer = InputConv(12, 5, folded=folded)
    x = torch.rand(3, 12, 9, 8).contiguous(memory_format=torch.channels_last)
    results = []
    for images in (x, pad_channels(x, to=16)):
        layer.zero_grad()
        output = layer.activated(images)
        (output * torch.arange(output.numel()).view_as(output).cos()).sum().backward()
        results.append([output.detach(), layer.forward(images).detach(), layer.layer.weight.grad.clone()])
    torch.testing.assert_close(*results, rtol=1e-5, atol=1e-5)
    assert layer.layer.weight.shape == (5, 12, 3, 3)
