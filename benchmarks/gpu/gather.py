"""stack_gather beside a plain copy of the same machine, in turns: bytes that must move over the time taken.

The replay is larger than any cache and positions are drawn at random. Counted are the frames that are read, once each,
and all channels that are written. Budget: 60% of the copy's bandwidth.
"""

from functools import partial
from typing import Any

import torch

from benchmarks.gpu.context import Context
from benchmarks.gpu.timing import Subject, time_turns
from kernels.stack_gather import augment_draws, stack_gather

STACK, CHANNELS = 4, 3
SETS = 4  # of positions and outputs


def run(context: Context) -> dict[str, Any]:
    device = context.device
    size, lanes, rows = context.size(96, 16), context.size(16, 2), context.size(6250, 20)
    frames = torch.randint(256, (lanes, rows, size, size, CHANNELS), dtype=torch.uint8, device=device)
    first = torch.rand(lanes, rows, device=device) < 1e-3
    kinds: dict[str, dict[str, Any]] = {
        "bf16 padded to 16": {"out_dtype": torch.bfloat16, "pad_channels_to": 16},
        "bf16 padded to 16, augmented": {"out_dtype": torch.bfloat16, "pad_channels_to": 16, "augments": True},
        "float32": {"out_dtype": torch.float32},
    }
    if context.is_rehearsal:
        del kinds["bf16 padded to 16"], kinds["bf16 padded to 16, augmented"]  # the interpreter has no bfloat16
    table = {}
    for batch in context.size((256, 2048), (2,)):
        subjects: dict[str, Subject] = {}
        moved_bytes: dict[str, int] = {}
        for name, options in kinds.items():
            subjects[name], moved_bytes[name] = gather_subject(frames, first, batch, context, **options)
        copy_bytes = max(moved_bytes.values()) // 2
        subjects["copy"] = copy_subject(copy_bytes, device)
        moved_bytes["copy"] = 2 * copy_bytes
        times = time_turns(subjects, device, seconds=min(context.left_s / 3, context.size(5.0, 0.5)))
        rates = {name: times[name].per_s(moved_bytes[name]) / 1e9 for name in subjects}
        table[f"B={batch}"] = {
            name: {"gb_per_s": rates[name], "share_of_copy": rates[name] / rates["copy"], "times": times[name]}
            for name in subjects
        }
        for name, rate in rates.items():
            print(f"B={batch:5} {name:30} {rate:8.1f} GB/s {rate / rates['copy']:7.1%} of the copy")
        shares = {name: rate / rates["copy"] for name, rate in rates.items() if name != "copy"}
        widest = list(shares)[-1]
        context.keep(batches=table, seen=f"B={batch} {widest}: {shares[widest]:.1%} of a copy")
    return context.results


def gather_subject(
    frames: torch.Tensor,
    first: torch.Tensor,
    batch: int,
    context: Context,
    *,
    out_dtype: torch.dtype,
    pad_channels_to: int = 1,
    augments: bool = False,
) -> tuple[Subject, int]:
    """A gather of root stacks, and the bytes that one call must move."""
    device, (lanes, rows, size) = context.device, frames.shape[:3]
    channels = -(-STACK * CHANNELS // pad_channels_to) * pad_channels_to
    calls = []
    for number in range(SETS):
        lane = torch.randint(lanes, (batch,), device=device)
        step = torch.randint(rows, 2 * rows, (batch,), device=device)
        out = torch.empty(batch, size, size, channels, dtype=out_dtype, device=device).permute(0, 3, 1, 2)
        options: dict[str, Any] = {"out": out, "pad_channels_to": pad_channels_to}
        if augments:
            draws = augment_draws(
                torch.tensor([number], device=device),
                batch=batch, seed=0, stream=0, view=0, shift_px=4, intensity_scale=0.05,
            )  # fmt: skip
            options |= {"shift": draws.shift, "scale": draws.scale}
        calls.append(
            partial(
                stack_gather, frames, first, lane, step, stack=STACK, out_dtype=out_dtype, backend="triton", **options
            )
        )
    pixels = batch * size * size
    return lambda i: calls[i % SETS](), pixels * (STACK * CHANNELS + channels * out_dtype.itemsize)


def copy_subject(size_bytes: int, device: torch.device) -> Subject:
    pairs = [[torch.randint(256, (size_bytes,), dtype=torch.uint8, device=device) for _ in range(2)] for _ in range(2)]
    return lambda i: pairs[i % 2][0].copy_(pairs[i % 2][1])
