"""How the network's kernels are compiled, and what they may cost."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from kernels.card import Card
from kernels.conv3x3_latent.tile import Tile, candidates, tile_for
from tests.kernels.sm90 import Case, arguments

CAPABILITIES = (80, 86, 89, 90, 100, 120)
# norm_act's tensors of x's type; all others are float32.
NORM_TENSORS = ("x", "residual", "y", "dy", "dx", "dresidual")


def conv_case(
    dtype: str,
    *,
    channels: int,
    capability: int = 90,
    registers: int = 255,
    has_action: bool = True,
    has_residual: bool = True,
    compact: bool = False,
    has_nodes: bool = False,
    tile: Tile | None = None,
) -> Case:
    """tile: None: the one that the card gets. bf16 must use Hopper's tensor cores there."""
    of_torch = {"bf16": torch.bfloat16, "fp32": torch.float32}[dtype]
    other = [] if tile is None else [f"{tile.rows}x{tile.warps}x{tile.stages}"]
    tile = tile or tile_for(channels, of_torch, Card.of_capability(*divmod(capability, 10)))
    parts = (
        other + ["action"] * has_action + ["residual"] * has_residual + ["compact"] * compact + ["nodes"] * has_nodes
    )
    action, node = ("*i64" if there else f"*{dtype}" for there in (has_action, has_nodes))
    return Case(
        name="-".join([f"conv3x3_latent-{dtype}-{channels}-sm_{capability}", *parts]),
        kernel="kernels.conv3x3_latent.triton_gpu:conv3x3_latent_kernel",
        signature=arguments(
            f"rows:*T weight:*T bias:*fp32 action:{action} action_maps:*fp32 residual:*T out:*T nodes:*T node:{node} "
            "image_row_count:i32 row_count:i32",
            dtype,
        ),
        constexprs=dict(
            GRID=6, CHANNELS=channels, HAS_ACTION=has_action, HAS_RESIDUAL=has_residual, COMPACT=compact,
            HAS_NODES=has_nodes, BLOCK_ROWS=tile.rows,
        ),
        capability=capability,
        options={"num_warps": tile.warps, "num_stages": tile.stages},
        max_shared_bytes=tile.shared_bytes(channels, of_torch),
        max_registers=registers,
        needs_wgmma=dtype == "bf16" and capability == 90,
    )  # fmt: skip


def norm_cases(dtype: str, *, channels: int, block_rows: int, tiles: int, has_residual: bool) -> Iterator[Case]:
    """norm_act's, for the stem's images or for a hidden layer."""
    block = {"CHANNELS": channels, "BLOCK_ROWS": block_rows, "BLOCK_CHANNELS": min(64, channels)}
    with_tiles, with_residual = {**block, "TILES": tiles}, {**block, "HAS_RESIDUAL": has_residual}
    kernels = {
        "statistics": ("x mean_out m2_out", with_tiles),
        "apply": ("x residual mean rstd weight bias y", with_residual),
        "reduce": ("x y dy mean rstd sums", with_tiles),
        "gradient": ("x y dy mean rstd weight sums dx dresidual", with_residual),
    }
    for name, (tensors, constexprs) in kernels.items():
        pointers = {tensor: f"*{dtype}" if tensor in NORM_TENSORS else "*fp32" for tensor in tensors.split()}
        yield Case(
            name=f"norm_act-{name}-{dtype}-{channels}",
            kernel=f"kernels.norm_act.triton_gpu:{name}_kernel",
            signature={**pointers, "rows": "i32", **({"parts": "i32"} if name == "reduce" else {})},
            constexprs=constexprs,
            aligned=(*pointers, "rows"),
            max_shared_bytes=1024 if name in ("statistics", "reduce") else 0,  # sums over the warps' rows
            max_registers=128,
            absent=("max.f32",) if name == "apply" else (),  # it makes 0 of NaN, which the interpreter's does not
        )


CASES: list[Case] = [
    *(conv_case("bf16", channels=channels, capability=each) for channels in (64, 128) for each in CAPABILITIES),
    *(
        conv_case("bf16", channels=channels, capability=each, tile=tile)
        for channels, capabilities in ((64, CAPABILITIES), (128, (90,)))
        for each in capabilities
        for tile in candidates(channels, torch.bfloat16, Card.of_capability(*divmod(each, 10)))[1:]
    ),
    conv_case("bf16", channels=64, registers=224, has_action=False, has_residual=False, compact=True),
    conv_case("bf16", channels=64, registers=224, has_action=False, has_nodes=True),
    conv_case("bf16", channels=128, capability=100, has_action=False, has_nodes=True),
    conv_case("bf16", channels=32, registers=128),
    conv_case("fp32", channels=64, registers=128),
    *(
        Case(
            name=f"decode_head-{dtype}",
            kernel="kernels.decode_head.triton_gpu:decode_head_kernel",
            signature=arguments("hidden:*T weight:*T bias:*fp32 out:*fp32 batch:i32 step:fp32", dtype),
            constexprs=dict(INPUTS=32, BLOCK_INPUTS=32, BINS=601, BLOCK_ROWS=16, BLOCK_BINS=128),
            max_shared_bytes=shared,
            max_registers=128,
        )
        for dtype, shared in (("bf16", 17920), ("fp32", 35328))
    ),
    *(
        Case(
            name=f"lstm_pointwise-{dtype}",
            kernel="kernels.lstm_cell.triton_gpu:lstm_pointwise_kernel",
            signature=arguments(
                "gates:*T bias:*fp32 c:*fp32 reset:*i1 node:*i64 output:*T h_out:*T c_out:*fp32 units:i32", dtype
            ),
            constexprs=dict(HIDDEN=512, BLOCK=512),
            max_registers=64,
        )
        for dtype in ("bf16", "fp32")
    ),
    *(
        Case(
            name=f"stack_gather-{dtype}-{frames}",
            kernel="kernels.stack_gather.triton_gpu:stack_gather_kernel",
            signature=arguments(
                "frames:*u8 first:*i1 lane:*i64 step:*i64 shift:*i32 scale:*fp32 out:*T num_rows:i32", dtype
            ),
            constexprs=dict(
                HEIGHT=96,
                WIDTH=96,
                CHANNELS=3,
                STACK=4,
                SKIP=frames - 4,
                FRAMES=4,
                OUT_CHANNELS=channels,
                BLOCK_CHANNELS=16,
                HAS_SHIFT=True,
                HAS_SCALE=True,
                BLOCKS=36,
                BLOCK_PIXELS=256,
            ),
            max_shared_bytes=4096,  # to turn what was loaded into what is stored; Triton 3.7 does without
            max_registers=128,
        )  # fmt: skip
        for dtype, frames, channels in (("bf16", 4, 16), ("fp32", 9, 12))
    ),
    Case(
        name="augment_draws",
        kernel="kernels.stack_gather.triton_gpu:augment_draws_kernel",
        signature=arguments(
            "train_step:*i64 shift:*i32 scale:*fp32 samples:i32 seed:i64 stream:i32 view:i32 first_sample:i32 "
            "intensity_scale:fp32"
        ),
        constexprs=dict(SHIFT_PX=4, BLOCK_SAMPLES=128),
        max_stack_bytes=32,  # of the cosine, for angles far beyond a turn
        max_registers=64,
    ),
    *(
        Case(
            name=f"parent_gather-{dtype}-{hidden}",
            kernel="kernels.parent_gather.triton_gpu:parent_gather_kernel",
            signature=arguments(
                "parent_row:*i64 latent:*T latent_out:*T h:*T h_out:*T c:C c_out:C batch:i32 row_count:i32".replace(
                    "C", "*fp32" if hidden else "*T"
                ),
                dtype,
            ),
            constexprs=dict(
                CHANNELS=64, MARGIN=8, IMAGE=49, HIDDEN=hidden, H_STRIDE=576 + hidden if hidden else 0, BLOCK=1024
            ),
            max_shared_bytes=4096 if hidden else 0,  # c is rearranged there after h, whose numbers are half as wide
            max_registers=64,
        )
        for dtype, hidden in (("bf16", 512), ("fp32", 0))
    ),
    *norm_cases("bf16", channels=32, block_rows=128, tiles=128, has_residual=True),
    *norm_cases("bf16", channels=64, block_rows=64, tiles=4, has_residual=False),
    *norm_cases("fp32", channels=512, block_rows=64, tiles=1, has_residual=False),
    Case(
        name="norm_act-combine",
        kernel="kernels.norm_act.triton_gpu:combine_kernel",
        signature=arguments(
            "partial_mean:*fp32 partial_m2:*fp32 mean_out:*fp32 rstd_out:*fp32 running_mean:*fp32 running_var:*fp32 "
            "rows:i32 parts:i32 eps:fp32 momentum:fp32"
        ),
        constexprs=dict(CHANNELS=64, ROWS_EACH=4096, BLOCK_PARTS=64, BLOCK_CHANNELS=16),
        max_shared_bytes=1024,
        max_registers=64,
    ),
]
