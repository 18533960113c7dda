"""The network's and the replay's kernels against float64, in float32 and bfloat16, on odd sizes and a large one.

All memory is poisoned with NaN before it is written. Inputs are drawn anew by a seed off the clock, which the results
name. The error of an output is its distance from the float64 one over that one's norm, infinite where there is a NaN.
"""

import copy
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch.nn import functional as F

from benchmarks.gpu.context import Context
from kernels.conv3x3_latent import conv3x3_latent
from kernels.conv3x3_latent.layout import (
    all_image_rows,
    as_images,
    pack_action_maps,
    pack_images,
    pack_weight,
    zero_rows,
)
from kernels.decode_head import decode_head
from kernels.lstm_cell import LSTMStep, lstm_pointwise
from kernels.norm_act import norm_act
from kernels.stack_gather import augment_draws, stack_gather
from speedyzero.model.blocks import DownBlock, fuse_epilogues

KERNELS = ("conv3x3_latent", "decode_head", "lstm_cell", "norm_act", "stack_gather")
BOUNDS = {torch.float32: 1e-5, torch.bfloat16: 1e-2}
GRID, CHANNELS, HIDDEN, BINS = 6, 64, 512, 601
EPSILON = 0.001  # of h(x) = sign(x)(sqrt(|x| + 1) - 1) + EPSILON x

Check = Callable[..., float]


def run(context: Context) -> dict[str, Any]:
    seed = time.time_ns() % 2**31
    torch.manual_seed(seed)
    batches = context.size((7, 63, 1, 2048), (3,))
    types = context.size((torch.float32, torch.bfloat16), (torch.float32,))  # the interpreter has no bfloat16
    checks: dict[str, Check] = {
        **({} if context.is_rehearsal else {"fused epilogues": epilogues}),  # cuDNN's
        **{f"conv3x3_latent A={a}": partial(conv, actions=a) for a in context.size((2, 6, 18), (6,))},
        "conv3x3_latent compact": partial(conv, compact=True),
        "decode_head": head,
        "lstm_pointwise": lstm,
        "norm_act": norms,
        "norm_act residual": partial(norms, has_residual=True),
        "stack_gather": stacks,
        "stack_gather window": partial(stacks, following=5, skip=1),
        "augment_draws": draws,
    }
    cases = {
        f"{name} B={batch} {str(dtype).removeprefix('torch.')}": partial(check, batch, dtype, context.device)
        for dtype in types
        for name, check in checks.items()
        for batch in batches
    }
    with poisoned_memory():
        errors = context.all_in_time(cases)
    bounds = {name: BOUNDS[torch.bfloat16 if name.endswith("bfloat16") else torch.float32] for name in errors}
    failures = [
        f"{name}: error {error:.1e} > {bounds[name]:.0e}" for name, error in errors.items() if not error <= bounds[name]
    ]
    worst = {
        f"{check} {kind}": max(found)
        for check in checks
        for kind in ("float32", "bfloat16")
        if (found := [e for name, e in errors.items() if name.startswith(f"{check} B=") and name.endswith(kind)])
    }
    for name, error in worst.items():
        print(f"{name:34} {error:.1e}")
    seen = f"{len(errors)} cases, errors up to {max(errors.values(), default=0.0):.1e}"
    return {"seed": seed, "errors": errors, "worst": worst, "seen": seen, "failures": failures}


@contextmanager
def poisoned_memory() -> Iterator[None]:
    """Have torch fill what it allocates with NaN, and with the largest integers."""
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


def relative_error(got: torch.Tensor, want: torch.Tensor) -> float:
    """Infinite where something is not a number."""
    error = ((got.double() - want.double()).norm() / want.double().norm().clamp_min(1e-30)).item()
    return error if math.isfinite(error) else math.inf


def conv(batch: int, dtype: torch.dtype, device: torch.device, *, actions: int = 18, compact: bool = False) -> float:
    images, residual = (torch.randn(batch, CHANNELS, GRID, GRID, device=device).to(dtype) for _ in range(2))
    weight = 0.1 * torch.randn(CHANNELS, CHANNELS + 1, 3, 3, device=device)
    bias = torch.randn(CHANNELS, device=device)
    action = torch.randint(actions, (batch,), device=device)
    taps = pack_weight(weight[:, :-1], dtype=dtype)
    planes = torch.arange(actions, device=device)[:, None] / actions
    if compact:
        out = torch.full((batch, GRID, GRID, CHANNELS), math.nan, dtype=dtype, device=device)
    else:
        out = zero_rows(batch, CHANNELS, GRID, dtype=dtype, device=device)
        all_image_rows(out, batch=batch, grid=GRID).fill_(math.nan)
    conv3x3_latent(
        pack_images(images), taps, bias, batch=batch, action=action, residual=pack_images(residual), compact=compact,
        action_maps=pack_action_maps(weight[:, -1:], planes, grid=GRID), out=out, backend="triton",
    )  # fmt: skip
    plane = (action.double() / actions).view(-1, 1, 1, 1).expand(batch, 1, GRID, GRID)
    seen = torch.cat([weight[:, :-1].to(dtype).double(), weight[:, -1:].double()], 1)
    want = F.conv2d(torch.cat([images.double(), plane], 1), seen, bias.double(), padding=1)
    want = F.relu(want + residual.double())
    if compact:
        return relative_error(out.permute(0, 3, 1, 2), want)
    rest = out.clone()
    as_images(rest, batch=batch, grid=GRID).zero_()
    if not torch.equal(rest, torch.zeros_like(rest)):
        return math.inf  # the border between images is not zero
    return relative_error(as_images(out, batch=batch, grid=GRID), want)


def epilogues(batch: int, dtype: torch.dtype, device: torch.device) -> float:
    """Both of cuDNN's convolutions that `fuse_epilogues` uses, in memory that was not a number before."""
    block = DownBlock(32, CHANNELS, folded=True).to(device, dtype).to(memory_format=torch.channels_last)
    exact = copy.deepcopy(block).double()
    images = torch.randn(batch, 32, 48, 48, device=device).to(dtype, memory_format=torch.channels_last)
    fuse_epilogues(block)
    poison = [torch.full((batch, CHANNELS, 24, 24), math.nan, dtype=dtype, device=device) for _ in range(3)]
    del poison
    with torch.inference_mode():
        return relative_error(block(images), exact(images.double()))


def head(batch: int, dtype: torch.dtype, device: torch.device) -> float:
    hidden = (4.0 * torch.rand(batch, 32, device=device)).to(dtype)
    weight, bias = (0.2 * torch.randn(BINS, 32, device=device)).to(dtype), torch.randn(BINS, device=device).to(dtype)
    found = decode_head(hidden, weight, bias, step=1.0, backend="triton")
    return _decoding_error(found, hidden.double() @ weight.double().T + bias.double())


def _decoding_error(found: torch.Tensor, logits: torch.Tensor) -> float:
    """In h(x), over the mean distance of the likely bins: a sum of float32 is as good as its largest terms."""
    distance = torch.arange(BINS, dtype=torch.float64, device=logits.device) - BINS // 2
    share = torch.softmax(logits, 1)
    x = found.double()
    squashed = torch.sign(x) * (torch.sqrt(x.abs() + 1.0) - 1.0) + EPSILON * x
    return relative_error(squashed - share @ distance + share @ distance.abs(), share @ distance.abs())


def lstm(batch: int, dtype: torch.dtype, device: torch.device) -> float:
    """Into the second of three nodes; the others stay as they are."""
    gates, bias = (
        (4.0 * torch.randn(batch, 4 * HIDDEN, device=device)).to(dtype),
        torch.randn(4 * HIDDEN, device=device),
    )
    c, reset = torch.randn(batch, HIDDEN, device=device), torch.rand(batch, device=device) < 0.3
    poison = [torch.full((3, batch, HIDDEN), math.nan, dtype=t, device=device) for t in (dtype, dtype, torch.float32)]
    out = LSTMStep(poison[0][0], poison[1], poison[2])
    node = torch.ones(1, dtype=torch.int64, device=device)
    lstm_pointwise(gates, bias, c, reset=reset, node=node, out=out, backend="triton")
    into, keep, candidate, expose = (gates.double() + bias.double()).chunk(4, 1)
    want_c = keep.sigmoid() * c.double() + into.sigmoid() * candidate.tanh()
    want_h = expose.sigmoid() * want_c.tanh()
    if not all(states[[0, 2]].isnan().all() for states in (out.h, out.c)):
        return math.inf
    kept = (~reset)[:, None]
    return max(
        relative_error(out.output, want_h),
        relative_error(out.h[1], want_h * kept),
        relative_error(out.c[1], want_c * kept),
    )


def norms(batch: int, dtype: torch.dtype, device: torch.device, *, has_residual: bool = False) -> float:
    """Forward, all gradients and the running statistics. Where the ReLU was open is taken from what was found: of
    millions of numbers, one or two are nearer to 0 than float32 can tell."""
    shape, momentum, eps = (batch, 32, 12, 12), 0.1, 1e-5
    offset = torch.randn(1, 32, 1, 1, device=device)
    x, residual, dy = (
        (torch.randn(shape, device=device) + offset).to(dtype).contiguous(memory_format=torch.channels_last)
        for _ in range(3)
    )
    weight, bias = 1.0 + 0.3 * torch.randn(32, device=device), torch.randn(32, device=device)
    mean, var = torch.zeros(32, device=device), torch.ones(32, device=device)
    leaves = [tensor.requires_grad_() for tensor in (x, weight, bias, *([residual] if has_residual else []))]
    y = norm_act(x, weight, bias, mean, var, *leaves[3:], eps=eps, momentum=momentum, backend="triton")
    y.backward(dy)
    exact = [leaf.detach().double().requires_grad_() for leaf in leaves]
    want = sum(exact[3:], F.batch_norm(exact[0], None, None, *exact[1:3], training=True, eps=eps))
    want.backward(dy.double() * (y > 0))
    with torch.no_grad():
        want_var, want_mean = torch.var_mean(exact[0], (0, 2, 3))
        pairs = [(y, F.relu(want)), (mean, momentum * want_mean), (var, 1.0 + momentum * (want_var - 1.0))]
        pairs += [(leaf.grad, right.grad) for leaf, right in zip(leaves, exact, strict=True)]
        return max(relative_error(got, right) for got, right in pairs)


def stacks(batch: int, dtype: torch.dtype, device: torch.device, *, following: int = 0, skip: int = 0) -> float:
    lanes, rows, size, stack = 5, 40, 33, 4
    frames = torch.randint(256, (lanes, rows, size, size, 3), dtype=torch.uint8)
    first = torch.rand(lanes, rows) < 0.3
    lane, step = torch.randint(lanes, (batch,)), torch.randint(rows, 3 * rows, (batch,))
    shift = torch.randint(-4, 5, (batch, 2), dtype=torch.int32)
    scale = 1.0 + 0.05 * torch.randn(batch)
    options: dict[str, Any] = {"stack": stack, "following": following, "skip": skip, "pad_channels_to": 16}
    want = stack_gather(frames, first, lane, step, shift=shift, scale=scale, backend="reference", **options)
    out = torch.full((batch, size, size, want.shape[1]), math.nan, dtype=dtype, device=device).permute(0, 3, 1, 2)
    on_device = [tensor.to(device) for tensor in (frames, first, lane, step)]
    stack_gather(
        *on_device,
        shift=shift.to(device),
        scale=scale.to(device),
        out_dtype=dtype,
        out=out,
        backend="triton",
        **options,
    )
    return relative_error(out.cpu(), want)


def draws(batch: int, dtype: torch.dtype, device: torch.device) -> float:
    """Shifts to the bit, or an infinite error. The type is always float32."""
    options: dict[str, Any] = {
        "batch": batch, "seed": 2**40 + 7, "stream": 3, "view": 1, "first_sample": 11, "shift_px": 4,
        "intensity_scale": 0.05,
    }  # fmt: skip
    train_step = torch.tensor([119_999])
    want = augment_draws(train_step, backend="reference", **options)
    found = augment_draws(train_step.to(device), backend="triton", **options)
    if not torch.equal(found.shift.cpu(), want.shift):
        return math.inf
    return relative_error(found.scale.cpu(), want.scale)


EACH_KERNEL: dict[str, Check] = {
    "conv": conv, "head": head, "lstm": lstm, "norms": partial(norms, has_residual=True),
    "stacks": stacks, "draws": draws,
}  # fmt: skip
