"""The action convolution against the concatenation that it stands for, and folded layers against batch norm."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from speedyzero.model import blocks
from speedyzero.model.blocks import (
    ActionConv,
    DownBlock,
    InputConv,
    NormedLayer,
    ResidualBlock,
    compile_norms,
    conv_norm,
    fold_into,
    folded_copy,
    fuse_norms,
    fused_norm_act,
    linear_norm,
    norm_act,
    pad_channels,
    use_norms,
)
from speedyzero.model.build import build_network
from tests.model.networks import IMAGE_SPEC, NUM_ACTIONS, randomise, tiny_config, tiny_network


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
    torch.testing.assert_close(block.convolve(latent, action), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("encoding", ["scale", "one_hot"])
def test_action_conv_gives_the_concatenation_s_gradient(encoding):
    block = ActionConv(3, 4, folded=True, encoding=encoding)
    latent = torch.randn(2, 3, 5, 4, generator=torch.Generator().manual_seed(0))
    action = torch.tensor([3, 1])
    plane = told(action, 4, 3, encoding)[:, :, None, None].expand(-1, -1, 5, 4)
    direct = F.conv2d(torch.cat([latent, plane], 1), block.layer.weight, block.layer.bias, padding=1)
    factor = torch.randn_like(direct)
    expected = torch.autograd.grad((direct * factor).sum(), [block.layer.weight, block.layer.bias])
    actual = torch.autograd.grad(
        (block.convolve(latent, action) * factor).sum(), [block.layer.weight, block.layer.bias]
    )
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("build", "shape"),
    [
        (lambda folded: conv_norm(3, 5, folded=folded), (2, 3, 7, 6)),
        (lambda folded: conv_norm(3, 5, stride=2, folded=folded), (2, 3, 7, 6)),
        (lambda folded: conv_norm(3, 5, kernel=1, bias=True, folded=folded), (2, 3, 7, 6)),
        (lambda folded: linear_norm(3, 5, folded=folded), (4, 3)),
    ],
)
def test_a_folded_layer_is_the_layer_and_its_norm(build, shape):
    source, folded = build(False).eval(), build(True).eval()
    randomise(source, seed=0)
    folded.fold_from(source)
    x = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(folded(x), source(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("prefix_horizon", [0, 5])
def test_a_folded_network_is_the_network_in_evaluation_mode(prefix_horizon):
    config = tiny_config(prefix_horizon=prefix_horizon)
    folded = build_network(config, IMAGE_SPEC, NUM_ACTIONS, folded=True).eval()
    places = {name: tensor.data_ptr() for name, tensor in folded.state_dict().items()}
    generator = torch.Generator().manual_seed(2)
    observation, action = torch.rand(3, 6, 36, 36, generator=generator), torch.tensor([0, 4, 2])
    seen = []
    for seed in (0, 1):  # a new version goes into the same network
        source = tiny_network(IMAGE_SPEC, prefix_horizon=prefix_horizon, seed=seed).eval()
        fold_into(folded, source)
        outputs = []
        for network in (folded, source):
            with torch.no_grad():
                latent = network.represent(observation)
                step = network.dynamics(latent, action, network.initial_prefix_state(3))
                step = network.dynamics(step.latent, action, step.prefix_state)
                prediction = network.predict(step.latent)
            prefix_state = list(step.prefix_state.values())
            outputs.append([latent, step.latent, step.prefix_logits, *prefix_state, *vars(prediction).values()])
        torch.testing.assert_close(*outputs, rtol=1e-4, atol=1e-4)
        seen.append(outputs[0])
    assert all((first - second).abs().max() > 1e-2 for first, second in zip(*seen, strict=True))
    assert {name: tensor.data_ptr() for name, tensor in folded.state_dict().items()} == places


def test_a_folded_network_has_neither_projector_nor_convolution_norms():
    folded = build_network(tiny_config(), IMAGE_SPEC, NUM_ACTIONS, folded=True)
    assert not any(name.startswith(("projector", "predictor")) for name in folded.state_dict())
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())


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


@pytest.mark.parametrize("block", [ResidualBlock(3, folded=False), DownBlock(3, 5, folded=False)])
def test_every_norm_with_a_relu_goes_through_the_one_function(block):
    """Where a fused kernel is put in, it is used: twice in each block, once with something to add."""
    seen = []

    def noting(x, norm, residual=None):
        seen.append(residual is not None)
        return norm_act(x, norm, residual)

    x = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    expected = block(x)
    for layer in block.modules():
        if isinstance(layer, NormedLayer):
            layer.norm_act = noting
    assert torch.equal(block(x), expected) and seen == [False, True]


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


def test_compiled_norms_are_the_norms(monkeypatch):
    """Without code generation, to be quick here."""
    original = torch.compile
    monkeypatch.setattr(torch, "compile", lambda f, dynamic: original(f, dynamic=dynamic, backend="aot_eager"))
    same_block(compile_norms)


def test_fused_norms_are_the_norms():
    """Their definition, that is. In Triton's form: `tests/kernels/test_fused_norms.py`."""
    same_block(fuse_norms)


def test_norms_are_chosen_by_name(monkeypatch):
    """Of every layer, also those that lie deep."""
    monkeypatch.setattr(torch, "compile", lambda f, dynamic: ("compiled", f))
    found = {}
    for how in ("torch", "compiled", "fused"):
        network = tiny_network(IMAGE_SPEC)
        use_norms(network, how)
        found[how] = [layer.norm_act for layer in network.modules() if isinstance(layer, NormedLayer)]
    assert all(function is norm_act for function in found["torch"])
    assert all(function == ("compiled", norm_act) for function in found["compiled"])
    assert all(function.func is fused_norm_act for function in found["fused"]) and len(found["fused"]) > 20


def same_block(put_in):
    """Outputs, gradients, running statistics and counters of a block with other norms, in training."""
    plain, fused = (ResidualBlock(4, folded=False) for _ in range(2))
    randomise(plain, seed=0)
    fused.load_state_dict(plain.state_dict())
    put_in(fused)
    assert fused.first.norm_act is not norm_act
    x = torch.randn(3, 4, 6, 5, generator=torch.Generator().manual_seed(1))
    results = []
    for block in (plain, fused):
        leaf = x.clone().requires_grad_()
        output = block(leaf)
        (output * torch.arange(output.numel()).view_as(output).cos()).sum().backward()
        gradients = [leaf.grad, *(parameter.grad for parameter in block.parameters())]
        results.append([output.detach(), *gradients, *block.buffers()])
    torch.testing.assert_close(*results, rtol=1e-4, atol=1e-5)
    assert list(fused.state_dict()) == list(plain.state_dict())


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


def test_a_folded_copy_takes_weights_as_a_folded_network_does():
    source = tiny_network(IMAGE_SPEC)
    folded = folded_copy(source).eval()
    assert not any(parameter.requires_grad for parameter in folded.parameters())
    assert all(parameter.requires_grad for parameter in source.parameters())
    assert any(isinstance(module, nn.BatchNorm2d) for module in source.modules())
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    randomise(source, seed=3)
    fold_into(folded, source)
    observation = torch.rand(3, 6, 36, 36, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        outputs = [network.project(network.represent(observation)) for network in (folded, source.eval())]
    torch.testing.assert_close(*outputs, rtol=1e-4, atol=1e-4)
