"""stack_gather and augment_draws in plain torch: the definitions."""

import torch
from torch.nn import functional as F

GOLDEN = 0x9E3779B97F4A7C15
MIX_1 = 0xBF58476D1CE4E5B9
MIX_2 = 0x94D049BB133111EB


def stack_gather(
    frames: torch.Tensor,
    first: torch.Tensor,
    lane: torch.Tensor,
    step: torch.Tensor,
    shift: torch.Tensor | None,
    scale: torch.Tensor | None,
    out: torch.Tensor,
    *,
    stack: int,
    following: int,
    skip: int,
) -> None:
    """See the package's docstring."""
    batch, height, width = lane.shape[0], frames.shape[2], frames.shape[3]
    rows = window_rows(first, lane, step, stack=stack, following=following)[:, skip:]
    pixels = frames[lane[:, None], rows].permute(0, 2, 3, 1, 4)  # [B, H, W, F, C]
    if shift is not None:
        sample = torch.arange(batch, device=lane.device)[:, None, None]
        y = (torch.arange(height, device=lane.device) + shift[:, :1]).clamp(0, height - 1)
        x = (torch.arange(width, device=lane.device) + shift[:, 1:]).clamp(0, width - 1)
        pixels = pixels[sample, y[:, :, None], x[:, None, :]]
    factor = torch.full((batch, 1, 1, 1), 1.0 / 255.0, device=lane.device)
    if scale is not None:
        factor = factor * scale.view(-1, 1, 1, 1)
    channels = pixels.flatten(3).float() * factor
    out.copy_(F.pad(channels, (0, out.shape[1] - channels.shape[3])).permute(0, 3, 1, 2))


def window_rows(
    first: torch.Tensor, lane: torch.Tensor, step: torch.Tensor, *, stack: int, following: int
) -> torch.Tensor:
    """The rows of a position's stacked frames and of the frames after it, [B, S+K]."""
    num_rows = first.shape[1]
    rows = [step % num_rows]
    for _ in range(stack - 1):
        begins = first[lane, rows[0]]
        rows.insert(0, torch.where(begins, rows[0], (rows[0] - 1) % num_rows))
    rows += [(step + ahead) % num_rows for ahead in range(1, following + 1)]
    return torch.stack(rows, dim=1)


def augment_draws(
    train_step: torch.Tensor,
    shift: torch.Tensor,
    scale: torch.Tensor,
    *,
    seed: int,
    stream: int,
    view: int,
    first_sample: int,
    shift_px: int,
    intensity_scale: float,
) -> None:
    """See the package's docstring."""
    sample = first_sample + torch.arange(scale.shape[0], device=scale.device)
    key = torch.zeros_like(sample)
    for part in (seed, stream, train_step, view, sample):
        key = _absorb(key, part)
    draws = torch.stack([_to_unit(_absorb(key, column)) for column in range(4)])  # [4, B]: dy, dx, two for brightness
    span = 2 * shift_px + 1
    shift.copy_(((draws[:2] * span).long().clamp(max=span - 1) - shift_px).t())
    normal = torch.sqrt(-2.0 * torch.log(draws[2])) * torch.cos(2.0 * torch.pi * draws[3])
    scale.copy_(1.0 + intensity_scale * normal.clamp(-2.0, 2.0))


def _absorb(state: torch.Tensor, key: torch.Tensor | int) -> torch.Tensor:
    """SplitMix64's finaliser over state and key, in int64, whose sums and products wrap like unsigned ones."""
    x = (state ^ key) + _signed(GOLDEN)
    x = (x ^ _shift_right(x, 30)) * _signed(MIX_1)
    x = (x ^ _shift_right(x, 27)) * _signed(MIX_2)
    return x ^ _shift_right(x, 31)


def _signed(bits: int) -> int:
    return bits - 2**64 if bits >= 2**63 else bits


def _shift_right(x: torch.Tensor, count: int) -> torch.Tensor:
    """Logical shift, without sign extension."""
    return (x >> count) & (2 ** (64 - count) - 1)


def _to_unit(bits: torch.Tensor) -> torch.Tensor:
    """64 random bits to a float32 in [0, 1]: computed in float64, in (0, 1), then rounded."""
    return ((_shift_right(bits, 12).double() + 0.5) * 2.0**-52).float()
