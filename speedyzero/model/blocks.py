"""Layers of EfficientZero's network that know how to fold their batch norm away for inference.

Training builds them with a norm; inference builds the same network `folded`, where each convolution or linear layer
has a bias and no norm, and `fold_into` writes the folded weights in place, so that a new version of the weights
allocates nothing.

In training a norm, what is added to it and the ReLU after it are one function, `norm_act`: operations bound by memory
that a fused kernel makes of fewer passes. Every layer calls it through `NormedLayer.norm_act`, which is where such a
kernel is put in: `compile_norms` puts in what torch.compile makes of it, `fuse_norms` ours (`kernels/norm_act`).

Axes: B batch, C channels, H W image, D features.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial

import torch
from torch import nn
from torch.nn import functional as F

from kernels import norm_act as fused
from speedyzero.config import ModelConfig

PAD_CHANNELS_TO = 16


def norm_act(x: torch.Tensor, norm: nn.Module, residual: torch.Tensor | None = None) -> torch.Tensor:
    """relu(norm(x) + residual). x, residual: [B, C, H, W] or [B, D]."""
    x = norm(x)
    return F.relu(x if residual is None else x + residual)


def fused_norm_act(
    x: torch.Tensor, norm: nn.Module, residual: torch.Tensor | None = None, *, backend: str = "auto"
) -> torch.Tensor:
    """The same by `kernels.norm_act`, where norm is batch norm in training. backend: as its `uses_triton`."""
    if type(norm) not in (nn.BatchNorm1d, nn.BatchNorm2d) or not norm.training:  # batch renormalization is another
        return norm_act(x, norm, residual)
    assert isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d)
    assert norm.running_mean is not None and norm.running_var is not None and norm.num_batches_tracked is not None
    assert norm.momentum is not None
    norm.num_batches_tracked.add_(1)
    return fused.norm_act(
        x, norm.weight, norm.bias, norm.running_mean, norm.running_var, residual,
        eps=norm.eps, momentum=norm.momentum, backend=backend,
    )  # fmt: skip


class NormedLayer(nn.Module):
    """A convolution or linear layer followed by batch norm, or by nothing when folded."""

    norm_act: Callable[..., torch.Tensor] = staticmethod(norm_act)

    def __init__(self, layer: nn.Conv2d | nn.Linear, norm: nn.Module):
        super().__init__()
        self.layer = layer
        self.norm = norm

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(self.weighed(x))

    def activated(self, x: torch.Tensor, residual: torch.Tensor | None = None) -> torch.Tensor:
        """relu(forward(x) + residual)."""
        return self.norm_act(self.weighed(x), self.norm, residual)

    def weighed(self, x: torch.Tensor) -> torch.Tensor:
        """The layer without its norm."""
        return self.layer(x)

    @torch.no_grad()
    def fold_from(self, source: NormedLayer) -> None:
        """Take over `source`'s weights with its batch norm multiplied in. Source: BN in evaluation mode."""
        norm = source.norm
        assert isinstance(self.norm, nn.Identity) and isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d)
        assert norm.running_var is not None and norm.running_mean is not None
        scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
        weight = source.layer.weight
        self.layer.weight.copy_(weight * scale.view(-1, *[1] * (weight.dim() - 1)))
        bias = source.layer.bias if source.layer.bias is not None else torch.zeros_like(scale)
        assert self.layer.bias is not None
        self.layer.bias.copy_((bias - norm.running_mean) * scale + norm.bias)


def conv_norm(
    in_channels: int, out_channels: int, *, kernel: int = 3, stride: int = 1, bias: bool = False, folded: bool
) -> NormedLayer:
    """A padded convolution and its batch norm."""
    layer = nn.Conv2d(in_channels, out_channels, kernel, stride, padding=kernel // 2, bias=bias or folded)
    return NormedLayer(layer, nn.Identity() if folded else nn.BatchNorm2d(out_channels))


def linear_norm(in_features: int, out_features: int, *, folded: bool) -> NormedLayer:
    """A linear layer and its batch norm."""
    return NormedLayer(nn.Linear(in_features, out_features), nn.Identity() if folded else nn.BatchNorm1d(out_features))


def projection_layers(config: ModelConfig, features: int) -> tuple[nn.Sequential, nn.Sequential]:
    """SimSiam's projector and predictor of a latent of so many features. Chen and He 2021; as EfficientZero's.

    With batch norm whatever the network has: with layer norm the consistency loss is lowest where all positions project
    alike, and there it goes (docs/design/techniques.md). Acting never uses them.
    """
    hidden, out = config.projector_hidden, config.projector_out
    projector = nn.Sequential(
        linear_norm(features, hidden, folded=False),
        nn.ReLU(),
        linear_norm(hidden, hidden, folded=False),
        nn.ReLU(),
        linear_norm(hidden, out, folded=False),
    )
    predictor = nn.Sequential(
        linear_norm(out, config.predictor_hidden, folded=False),
        nn.ReLU(),
        nn.Linear(config.predictor_hidden, out),
    )
    return projector, predictor


class InputConv(NormedLayer):
    """The convolution that reads observations. More input channels than it has weights for must be zero.

    On a GPU the channels are padded to a multiple of PAD_CHANNELS_TO, unless they come so: a bfloat16 convolution of 12
    channels, channels last, is misaligned. The weights stay 12 channels wide, in every checkpoint too.
    """

    def __init__(self, in_channels: int, out_channels: int, *, folded: bool):
        layer = nn.Conv2d(in_channels, out_channels, 3, 2, padding=1, bias=folded)
        super().__init__(layer, nn.Identity() if folded else nn.BatchNorm2d(out_channels))

    def weighed(self, x: torch.Tensor) -> torch.Tensor:
        layer = self.layer
        assert isinstance(layer, nn.Conv2d)
        if x.is_cuda:
            x = pad_channels(x, to=PAD_CHANNELS_TO)
        if x.shape[1] == layer.in_channels:
            return layer(x)
        weight = F.pad(layer.weight, (0, 0, 0, 0, 0, x.shape[1] - layer.in_channels))
        return F.conv2d(x, weight, layer.bias, stride=2, padding=1)


def pad_channels(x: torch.Tensor, *, to: int) -> torch.Tensor:
    """[B, C, H, W] with C rounded up to a multiple of `to` by channels of zeros; x itself where it is one."""
    missing = -x.shape[1] % to
    return F.pad(x, (0, 0, 0, 0, 0, missing)) if missing else x


class ActionConv(NormedLayer):
    """3x3 convolution of the latent with appended planes that tell the action, as per-pixel additive maps.

    conv(concat(s, planes of p)) = conv(s) + sum of p * conv(plane of ones): the same parameters and the same result as
    65 input channels or more, without their misalignment.

    encoding: `scale`, one plane of a/A, as the reference has it: actions in an order, at a weight of 1 in 65 inputs;
    `one_hot`, a plane an action (MuZero, App. E), filled with sqrt(channels) / 2: at first it varies a quarter as much
    as the latent's channels do together, if those vary by 1 each.
    """

    def __init__(self, channels: int, num_actions: int, *, folded: bool, encoding: str = "scale"):
        assert encoding in ("scale", "one_hot"), encoding
        planes = num_actions if encoding == "one_hot" else 1
        layer = nn.Conv2d(channels + planes, channels, 3, padding=1, bias=folded)
        super().__init__(layer, nn.Identity() if folded else nn.BatchNorm2d(channels))
        self.num_actions, self._one_hot_value = num_actions, 0.5 * channels**0.5 if encoding == "one_hot" else None

    def planes(self, action: torch.Tensor) -> torch.Tensor:
        """What the planes are filled with, [B, P] float32. action: [B] int64."""
        if self._one_hot_value is None:
            return (action / self.num_actions)[:, None]
        # Not torch's one_hot, which reads its input on the host.
        is_taken = action[:, None] == torch.arange(self.num_actions, device=action.device)
        return is_taken.float() * self._one_hot_value

    def convolve(self, latent: torch.Tensor, action: torch.Tensor) -> torch.Tensor:
        """latent: [B, C, H, W]; action: [B] int64 -> [B, C, H, W]."""
        return self.norm(self._convolve(latent, action))

    def step(self, latent: torch.Tensor, action: torch.Tensor) -> torch.Tensor:
        """relu(convolve(latent, action) + latent)."""
        return self.norm_act(self._convolve(latent, action), self.norm, latent)

    def _convolve(self, latent: torch.Tensor, action: torch.Tensor) -> torch.Tensor:
        weight, channels = self.layer.weight, latent.shape[1]
        ones = torch.ones(1, 1, *latent.shape[2:], dtype=latent.dtype, device=latent.device)
        taps = weight[:, channels:].flatten(0, 1)[:, None]  # [C * P, 1, 3, 3]
        maps = F.conv2d(ones, taps, padding=1).view(channels, -1, *latent.shape[2:])  # [C, P, H, W]
        spatial = F.conv2d(latent, weight[:, :channels], self.layer.bias, padding=1)
        return spatial + torch.tensordot(self.planes(action).to(maps.dtype), maps, dims=([1], [1]))


class ResidualBlock(nn.Module):
    """conv, norm, ReLU, conv, norm, add the input, ReLU."""

    def __init__(self, channels: int, *, folded: bool):
        super().__init__()
        self.first = conv_norm(channels, channels, folded=folded)
        self.second = conv_norm(channels, channels, folded=folded)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second.activated(self.first.activated(x), residual=x)


class DownBlock(nn.Module):
    """A residual block at half the resolution; the skip is a strided convolution without a norm."""

    def __init__(self, in_channels: int, out_channels: int, *, folded: bool):
        super().__init__()
        self.first = conv_norm(in_channels, out_channels, stride=2, folded=folded)
        self.second = conv_norm(out_channels, out_channels, folded=folded)
        self.skip = nn.Conv2d(in_channels, out_channels, 3, 2, padding=1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second.activated(self.first.activated(x), residual=self.skip(x))


@torch.no_grad()
def fold_into(folded: nn.Module, source: nn.Module) -> None:
    """Write `source`'s weights, norms folded in, into a network of the same shape built with folded=True.

    Modules that only `source` has (the projector) are left out.
    """
    sources = dict(source.named_modules())
    inside_folded = set()
    for name, module in folded.named_modules():
        if isinstance(module, NormedLayer):
            original = sources[name]
            assert isinstance(original, NormedLayer)
            module.fold_from(original)
            inside_folded.update({f"{name}.layer", f"{name}.norm"})
        elif name not in inside_folded:
            own = [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]
            for key, tensor in own:
                tensor.copy_(getattr(sources[name], key))


def folded_copy(module: nn.Module) -> nn.Module:
    """A copy of a module in training form, in the form that `fold_into` writes to. Without gradients."""
    folded = copy.deepcopy(module).requires_grad_(False)
    for layer in folded.modules():
        if isinstance(layer, NormedLayer):
            if layer.layer.bias is None:
                weight = layer.layer.weight
                layer.layer.bias = nn.Parameter(weight.new_zeros(weight.shape[0]), requires_grad=False)
            layer.norm = nn.Identity()
    return folded


def use_norms(network: nn.Module, how: str) -> None:
    """How a network computes norm, addition and ReLU in training: torch, compiled or fused."""
    if how == "compiled":
        compile_norms(network)
    elif how == "fused":
        fuse_norms(network)
    else:
        assert how == "torch", how


def compile_norms(network: nn.Module) -> None:
    """Fuse norm, addition and ReLU of a network's layers by torch.compile, forward and backward.

    It compiles in the first steps, once for each shape, with and without residual and gradient. Nothing else is
    compiled: convolutions are the library's in any case, and the whole step would take minutes.
    """
    # Of one function. The network's shapes are few, yet more than the default, beyond which it would run eagerly.
    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, 64)
    _put_in(network, torch.compile(norm_act, dynamic=False))


def fuse_norms(network: nn.Module, *, backend: str = "auto") -> None:
    """Fuse norm, addition and ReLU of a network's layers by kernels of our own. backend: as `fused_norm_act`'s."""
    _put_in(network, partial(fused_norm_act, backend=backend))


def _put_in(network: nn.Module, function: Callable[..., torch.Tensor]) -> None:
    for layer in network.modules():
        if isinstance(layer, NormedLayer):
            layer.norm_act = function
