"""Clipped LARS: SGD with momentum whose step in each layer is scaled by a bounded trust ratio.

Built by `optimizers.build_optimizer` for the learner. For a tensor w of two or more dimensions with gradient g,
Euclidean norms |w| and |g|, and a buffer that starts at zero:

    ratio = min(trust |w| / (|g| + weight_decay |w| + eps), clip)    or min(1, clip) where |w| or |g| is 0
    buf   = momentum buf + ratio (g + weight_decay w)
    w     = w - lr buf

clip = inf is LARS (You, Gitman and Ginsburg 2017, "Large Batch Training of Convolutional Networks"); trust = inf with
clip = 1 is SGD with momentum; with clip <= 1 no update is longer than SGD's. LARC (in NVIDIA's apex) bounds a layer's
rate by lr itself; here the ratio is bounded and lr multiplies it always, so that warm-up and decay act in every layer.
The name is from the abstract of SpeedyZero (Mei et al. 2023). Its definition is not public: the one above is ours.

Axes: T scaled tensors of a parameter group.
"""

import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.optim.optimizer import ParamsT

from speedyzero.model.base import ZeroLinear

_BUFFER = "momentum_buffer"


@dataclass(frozen=True)
class _Ratios:
    """A group's ratios at fixed addresses; NaN where the last step had no gradient."""

    unclipped: torch.Tensor  # [T]
    clipped: torch.Tensor  # [T]


class ClippedLARS(torch.optim.Optimizer):
    """See the module docstring.

    Each parameter group has its own settings. A group with `adaptive=False` uses plain SGD with momentum and its weight
    decay; tensors of fewer than two dimensions in other groups use plain SGD without decay. Tensors without a gradient
    are skipped, as in torch's optimisers.

    A step never synchronises with the device, and momentum and ratios keep their addresses, so a step can be captured
    in a CUDA graph if `lr` is a tensor on the parameters' device that is filled in place. Norms have the parameters'
    precision; one that underflows counts as zero.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float | torch.Tensor = 0.4,
        *,
        momentum: float = 0.9,
        weight_decay: float = 1e-4,
        trust: float = 0.02,
        clip: float = 10.0,
        eps: float = 1e-8,
        adaptive: bool = True,
    ):
        self._ratios: list[_Ratios | None] = []  # by group; None where nothing is scaled
        settings = {
            "lr": lr,
            "momentum": momentum,
            "weight_decay": weight_decay,
            "trust": trust,
            "clip": clip,
            "eps": eps,
            "adaptive": adaptive,
        }
        super().__init__(params, settings)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Allocate a group's momentum and ratios."""
        super().add_param_group(param_group)
        group = self.param_groups[-1]
        for parameter in group["params"]:
            self.state[parameter][_BUFFER] = torch.zeros_like(parameter)
        scaled = [p for p in group["params"] if _is_scaled(p, group)]
        ratios = [scaled[0].new_full((len(scaled),), math.nan) for _ in range(2)] if scaled else None
        self._ratios.append(_Ratios(*ratios) if ratios else None)

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        """One update."""
        for group, ratios in zip(self.param_groups, self._ratios, strict=True):
            if ratios is not None:
                scaled = [p for p in group["params"] if _is_scaled(p, group)]
                _find_ratios(scaled, group, into=ratios)
                self._update(scaled, group, decay=group["weight_decay"], ratios=ratios.clipped)
            plain = [p for p in group["params"] if not _is_scaled(p, group)]
            self._update(plain, group, decay=0.0 if group["adaptive"] else group["weight_decay"], ratios=None)

    def _update(
        self, parameters: list[torch.Tensor], group: dict[str, Any], *, decay: float, ratios: torch.Tensor | None
    ) -> None:
        """Update momentum and weights of parameters with a gradient. ratios: [T]; None scales nothing."""
        moving = [p for p in parameters if p.grad is not None]
        if not moving:
            return
        buffers = [self.state[p][_BUFFER] for p in moving]
        updates = torch._foreach_add(_gradients(moving), moving, alpha=decay)
        if ratios is not None:
            # One call but one kernel per tensor: no multi-tensor kernel takes factors from device memory.
            factors = [ratio for ratio, p in zip(ratios.unbind(), parameters, strict=True) if p.grad is not None]
            torch._foreach_mul_(updates, factors)
        torch._foreach_mul_(buffers, group["momentum"])
        torch._foreach_add_(buffers, updates)
        torch._foreach_sub_(moving, torch._foreach_mul(buffers, group["lr"]))

    def trust_ratios_by_layer(self) -> dict[str, tuple[float, float]]:
        """The last step's ratios before and after the clip, of scaled tensors that had a gradient, by their names.

        Empty before the first step. Waits for the device.
        """
        layers: dict[str, tuple[float, float]] = {}
        for number, (group, ratios) in enumerate(zip(self.param_groups, self._ratios, strict=True)):
            if ratios is None:
                continue
            names = group.get("param_names", [f"group{number}.{i}" for i in range(len(group["params"]))])
            scaled = [name for name, p in zip(names, group["params"], strict=True) if _is_scaled(p, group)]
            pairs = torch.stack([ratios.unclipped, ratios.clipped], dim=1).tolist()
            layers |= {name: (a, b) for name, (a, b) in zip(scaled, pairs, strict=True) if not math.isnan(a)}
        return layers


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


def parameter_groups(network: nn.Module, *, weight_decay: float) -> list[dict[str, Any]]:
    """A network's named parameters in two groups: scaled, and plain SGD without decay.

    Biases, norms and zero-initialised output layers are plain: with weight norms near zero those layers would hardly
    move. Empty groups are omitted.
    """
    outputs = {id(p) for module in network.modules() if isinstance(module, ZeroLinear) for p in module.parameters()}
    scaled: list[tuple[str, nn.Parameter]] = []
    plain: list[tuple[str, nn.Parameter]] = []
    for name, parameter in network.named_parameters():
        is_plain = parameter.ndim < 2 or id(parameter) in outputs
        (plain if is_plain else scaled).append((name, parameter))
    groups = [
        {"params": scaled, "adaptive": True, "weight_decay": weight_decay},
        {"params": plain, "adaptive": False, "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def _find_ratios(parameters: list[torch.Tensor], group: dict[str, Any], *, into: _Ratios) -> None:
    """The trust ratios of T parameters, before and after the clip."""
    gradients = _gradients(parameters)
    if not gradients:
        into.unclipped.fill_(math.nan)
        into.clipped.fill_(math.nan)
        return
    found = iter(torch._foreach_norm(gradients))
    none = into.clipped.new_full((), math.nan)
    gradient_norm = torch.stack([none if p.grad is None else next(found) for p in parameters])
    weight_norm = torch.stack(torch._foreach_norm(parameters))
    total_norm = gradient_norm + group["weight_decay"] * weight_norm + group["eps"]
    is_zero = torch.minimum(weight_norm, gradient_norm) == 0  # false for NaN
    torch.div(group["trust"] * weight_norm, total_norm, out=into.unclipped).masked_fill_(is_zero, 1.0)
    torch.clamp(into.unclipped, max=group["clip"], out=into.clipped)


def _gradients(parameters: list[torch.Tensor]) -> list[torch.Tensor]:
    return [p.grad for p in parameters if p.grad is not None]


def _is_scaled(parameter: torch.Tensor, group: dict[str, Any]) -> bool:
    return group["adaptive"] and parameter.ndim >= 2
