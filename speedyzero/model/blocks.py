"""Layers of EfficientZero's network whose batch norm can be folded into the weights for inference.

The training network has norms. The inference network is built `folded`: each convolution or linear layer has a bias and
no norm. `fold_into` writes the folded weights in place, so loading a new version allocates nothing.

In training, norm, residual addition and ReLU are one function, `norm_act`: memory-bound operations that fusion does in
fewer passes. Layers call it through `NormedLayer.norm_act`, which `compile_norms` replaces with torch.compile's version
and `fuse_norms` with our kernel (`kernels/norm_act`).

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
    """`norm_act` by `kernels.norm_act`, if norm is batch norm in training. backend: as in its `uses_triton`."""
    if type(norm) not in (nn.BatchNorm1d, nn.BatchNorm2d) or not norm.training:  # such as batch renormalization
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

    def operands(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Input and weight, with as many input channels each."""
        return x, self.layer.weight

    @torch.no_grad()
    def fold_from(self, source: NormedLayer) -> None:
        """Copy `source`'s weights with its batch norm, in evaluation mode, folded in."""
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
    return NormedLayer(nn.Linear(in_features, out_features), nn.Identity() if folded else nn.BatchNorm1d(out_features))


def projection_layers(config: ModelConfig, features: int) -> tuple[nn.Sequential, nn.Sequential]:
    """SimSiam's projector and predictor of a latent of so many features. Chen and He 2021; as EfficientZero's.

    Always with batch norm: with layer norm the consistency loss makes all positions project alike
    (docs/design/techniques.md). Not used in acting.
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
    """The convolution of observations. Input channels beyond those of its weights must be zero.

    On a GPU, channels are padded to a multiple of PAD_CHANNELS_TO if they are not yet: a channels-last bfloat16
    convolution of 12 channels is misaligned. The weights keep 12 channels, also in checkpoints.
    """

    def __init__(self, in_channels: int, out_channels: int, *, folded: bool):
        layer = nn.Conv2d(in_channels, out_channels, 3, 2, padding=1, bias=folded)
        super().__init__(layer, nn.Identity() if folded else nn.BatchNorm2d(out_channels))

    def weighed(self, x: torch.Tensor) -> torch.Tensor:
        return F.conv2d(*self.operands(x), self.layer.bias, stride=2, padding=1)

    def operands(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        if x.is_cuda:
            x = pad_channels(x, to=PAD_CHANNELS_TO)
        weight = self.layer.weight
        missing = x.shape[1] - weight.shape[1]
        return x, F.pad(weight, (0, 0, 0, 0, 0, missing)) if missing else weight


def pad_channels(x: torch.Tensor, *, to: int) -> torch.Tensor:
    """[B, C, H, W] with C zero-padded to a multiple of `to`; x itself if it is one."""
    missing = -x.shape[1] % to
    return F.pad(x, (0, 0, 0, 0, 0, missing)) if missing else x


class ActionConv(NormedLayer):
    """3x3 convolution of the latent with appended action planes, computed as per-pixel additive maps.

    conv(concat(s, planes of p)) = conv(s) + sum of p * conv(plane of ones): the same parameters and result as 65 or
    more input channels, without their misalignment.

    encoding: `scale`, one plane of a/A, as in the reference: it orders the actions and is 1 of 65 inputs; `one_hot`, a
    plane per action (MuZero, App. E), filled with sqrt(channels) / 2: its initial variance is a quarter of the latent
    channels' sum, if each of those has variance 1.
    """

    def __init__(self, channels: int, num_actions: int, *, folded: bool, encoding: str = "scale"):
        assert encoding in ("scale", "one_hot"), encoding
        planes = num_actions if encoding == "one_hot" else 1
        layer = nn.Conv2d(channels + planes, channels, 3, padding=1, bias=folded)
        super().__init__(layer, nn.Identity() if folded else nn.BatchNorm2d(channels))
        self.num_actions, self._one_hot_value = num_actions, 0.5 * channels**0.5 if encoding == "one_hot" else None

    def planes(self, action: torch.Tensor) -> torch.Tensor:
        """Fill values of the planes, [B, P] float32. action: [B] int64."""
        if self._one_hot_value is None:
            return (action / self.num_actions)[:, None]
        # Not torch's one_hot, which synchronises with the host.
        is_taken = action[:, None] == torch.arange(self.num_actions, device=action.device)
        return is_taken.float() * self._one_hot_value

    def step(self, latent: torch.Tensor, action: torch.Tensor) -> torch.Tensor:
        """relu(norm(conv) + latent). latent: [B, C, H, W]; action: [B] int64 -> [B, C, H, W]."""
        weight, channels = self.layer.weight, latent.shape[1]
        ones = torch.ones(1, 1, *latent.shape[2:], dtype=latent.dtype, device=latent.device)
        taps = weight[:, channels:].flatten(0, 1)[:, None]  # [C * P, 1, 3, 3]
        maps = F.conv2d(ones, taps, padding=1).view(channels, -1, *latent.shape[2:])  # [C, P, H, W]
        spatial = F.conv2d(latent, weight[:, :channels], self.layer.bias, padding=1)
        added = torch.tensordot(self.planes(action).to(maps.dtype), maps, dims=([1], [1]))
        return self.norm_act(spatial + added, self.norm, latent)


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

    Modules that only `source` has (the projector) are skipped.
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


def fuse_epilogues(module: nn.Module) -> list[NormedLayer]:
    """Have cuDNN add bias and residual and apply the ReLU within the convolutions of a folded module (GPU).

    Their sums are then not stored before the ReLU: of a 96 px image, root inference moves 2.4 instead of 6.2 MB
    (bfloat16, counted). Returns the layers; `del layer.activated` undoes it.
    """
    layers = [layer for layer in module.modules() if isinstance(layer, NormedLayer)]
    for layer in layers:
        layer.activated = partial(cudnn_activated, layer)  # type: ignore[method-assign]
    return layers


def cudnn_activated(layer: NormedLayer, x: torch.Tensor, residual: torch.Tensor | None = None) -> torch.Tensor:
    """`NormedLayer.activated` of a folded convolution as one operation. Raises RuntimeError where cuDNN has none."""
    convolution = layer.layer
    assert isinstance(convolution, nn.Conv2d) and isinstance(layer.norm, nn.Identity)
    assert isinstance(convolution.padding, tuple)
    how = convolution.bias, convolution.stride, convolution.padding, convolution.dilation, convolution.groups
    x, weight = layer.operands(x)
    if residual is None:
        return torch.cudnn_convolution_relu(x, weight, *how)
    return torch.cudnn_convolution_add_relu(x, weight, residual, 1.0, *how)


def use_norms(network: nn.Module, how: str) -> None:
    """Select how `norm_act` is computed in training: torch, compiled or fused."""
    if how == "compiled":
        compile_norms(network)
    elif how == "fused":
        fuse_norms(network)
    else:
        assert how == "torch", how


def compile_norms(network: nn.Module) -> None:
    """Fuse norm, addition and ReLU of a network's layers by torch.compile, forward and backward.

    Compiles during the first steps, once per shape, with and without residual and gradient. Nothing else is compiled:
    convolutions come from a library anyway, and compiling the whole step would take minutes.
    """
    # Per function. The network has more shapes than the default limit, beyond which it would run eagerly.
    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, 64)
    _put_in(network, torch.compile(norm_act, dynamic=False))


def fuse_norms(network: nn.Module, *, backend: str = "auto") -> None:
    """Fuse norm, addition and ReLU of a network's layers by kernels of our own. backend: as `fused_norm_act`'s."""
    _put_in(network, partial(fused_norm_act, backend=backend))


def _put_in(network: nn.Module, function: Callable[..., torch.Tensor]) -> None:
    for layer in network.modules():
        if isinstance(layer, NormedLayer):
            layer.norm_act = function
