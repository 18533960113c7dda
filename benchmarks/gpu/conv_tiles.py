"""Tiles of conv3x3_latent side by side, by number of images; the fastest is kept for this GPU, and launches take it.

Kept in the user's cache folder, as `kernels/conv3x3_latent/measured.py` reads it; by a rehearsal beside the results. A
tile whose result is not the first one's is a failure. Another than the first is kept only if it is faster by more than
the measurements' spread.
"""

import json
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu.context import Context
from benchmarks.gpu.json_file import write_json
from benchmarks.gpu.network_kernels import BOUNDS, relative_error
from benchmarks.gpu.timing import Subject, Times, time_turns
from kernels.card import Card
from kernels.conv3x3_latent.layout import pack_images, zero_rows
from kernels.conv3x3_latent.measured import table_key, table_path
from kernels.conv3x3_latent.tile import Tile, candidates

CHANNELS, GRID, SETS = 64, 6, 2  # sets of images


def run(context: Context) -> dict[str, Any]:
    card = Card.of(context.device) or Card.of_capability(9, 0)
    tiles = candidates(CHANNELS, torch.bfloat16, card)
    fastest: dict[int, Tile] = {}
    found, failures = {}, []
    for batch in context.size((16, 256, 1024, 2048), (2,)):
        subjects, wrong = subjects_of(tiles, batch, context)
        failures += wrong
        times = time_turns(subjects, context.device, seconds=min(context.left_s / 5, context.size(2.0, 0.1)))
        found[f"B={batch}"] = {str(tile): times[str(tile)] for tile in tiles}
        fastest[batch] = fastest_of(tiles, times)
        print(f"B={batch:5} {fastest[batch]}", {name: f"{1e3 * each.median_ms:.0f} us" for name, each in times.items()})
    path = context.out / "conv3x3_latent.json" if context.is_rehearsal else table_path()
    kept = "not kept: a tile is wrong" if failures else keep(path, table_key(CHANNELS, torch.bfloat16, card), fastest)
    chosen = ", ".join(f"{tile.rows}x{tile.warps}x{tile.stages} at {batch}" for batch, tile in fastest.items())
    return {"times": found, "kept": kept, "seen": f"{chosen}; {kept}", "failures": failures}


def subjects_of(tiles: list[Tile], batch: int, context: Context) -> tuple[dict[str, Subject], list[str]]:
    """The convolution by every tile, and those that are wrong."""
    from kernels.conv3x3_latent.triton_gpu import conv3x3_latent

    dtype, device = context.size(torch.bfloat16, torch.float32), context.device
    weight = (0.05 * torch.randn(9, CHANNELS, CHANNELS, device=device)).to(dtype)
    bias = torch.randn(CHANNELS, device=device)
    rows = [pack_images(torch.randn(batch, CHANNELS, GRID, GRID, device=device).to(dtype)) for _ in range(SETS)]
    outputs = [zero_rows(batch, CHANNELS, GRID, dtype=dtype, device=device) for _ in tiles]

    def convolve(tile: Tile, out: torch.Tensor, number: int) -> None:
        images = rows[number % SETS]
        conv3x3_latent(
            images, weight, bias, out, batch=batch, grid=GRID, action=None, action_maps=None, residual=images,
            nodes=None, node=None, tile=tile,
        )  # fmt: skip

    wrong = []
    for tile, out in zip(tiles, outputs, strict=True):
        convolve(tile, out, 0)
        error = relative_error(out, outputs[0])
        if not error <= BOUNDS[dtype]:
            wrong.append(f"B={batch}: {tile} is off by {error:.1e}")
    return {str(tile): partial(convolve, tile, out) for tile, out in zip(tiles, outputs, strict=True)}, wrong


def fastest_of(tiles: list[Tile], times: dict[str, Times]) -> Tile:
    best = min(tiles, key=lambda tile: times[str(tile)].median_ms)
    first, least = times[str(tiles[0])], times[str(best)]
    spread = max(first.halves_differ, least.halves_differ)
    return best if least.median_ms < (1.0 - spread) * first.median_ms else tiles[0]


def keep(path: Path | None, key: str, fastest: dict[int, Tile]) -> str:
    """Add the choices to the file; returns whether they are kept, or why not. Names no folder, which names a user."""
    if path is None:
        return "not kept: there is no home"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        known = json.loads(path.read_text()) if path.exists() else {}
        write_json(path, {**known, key: {n: [tile.rows, tile.warps, tile.stages] for n, tile in fastest.items()}})
    except (OSError, ValueError) as error:  # ValueError: the file that is there is no JSON
        return f"not kept: {error.strerror if isinstance(error, OSError) else error}"
    return "kept for later runs"
