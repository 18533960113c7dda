"""How the network's kernels are compiled, and what they may cost."""

from __future__ import annotations

import torch

from kernels.card import Card
from kernels.conv3x3_latent.tile import tile_for
from tests.kernels.sm90 import Case

CAPABILITIES = (80, 86, 89, 90, 100, 120)


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
) -> Case:
    """With the tile that the card gets. bf16 must use Hopper's tensor cores there."""
    of_torch = {"bf16": torch.bfloat16, "fp32": torch.float32}[dtype]
    tile = tile_for(channels, of_torch, Card.of_capability(*divmod(capability, 10)))
    parts = ["action"] * has_action + ["residual"] * has_residual + ["compact"] * compact + ["nodes"] * has_nodes
    return Case(
        name="-".join([f"conv3x3_latent-{dtype}-{channels}-sm_{capability}", *parts]),
        kernel="kernels.conv3x3_latent.triton_gpu:conv3x3_latent_kernel",
        signature={
            "rows": f"*{dtype}",
            "weight": f"*{dtype}",
            "bias": "*fp32",
            "action": "*i64" if has_action else f"*{dtype}",
            "action_maps": "*fp32",
            "residual": f"*{dtype}",
            "out": f"*{dtype}",
            "nodes": f"*{dtype}",
            "node": "*i64" if has_nodes else f"*{dtype}",
            "image_row_count": "i32",
            "row_count": "i32",
        },  # fmt: skip
        constexprs={
            "GRID": 6,
            "CHANNELS": channels,
            "HAS_ACTION": has_action,
            "HAS_RESIDUAL": has_residual,
            "RELU": True,
            "COMPACT": compact,
            "HAS_NODES": has_nodes,
            "BLOCK_ROWS": tile.rows,
        },  # fmt: skip
        aligned=("rows", "weight", "bias", "action", "action_maps", "residual", "out", "nodes", "node"),
        capability=capability,
        options={"num_warps": tile.warps, "num_stages": tile.stages},
        max_shared_bytes=tile.shared_bytes(channels, of_torch),
        max_registers=registers,
        needs_wgmma=dtype == "bf16" and capability == 90,
    )


CASES: list[Case] = [
    *(
        conv_case("bf16", channels=channels, capability=capability)
        for channels in (64, 128)
        for capability in CAPABILITIES
    ),
    conv_case("bf16", channels=64, registers=224, has_action=False, has_residual=False, compact=True),
    conv_case("bf16", channels=64, registers=224, has_action=False, has_nodes=True),
    conv_case("bf16", channels=32, registers=128),
    conv_case("fp32", channels=64, registers=128),
    *(
        Case(
            name=f"decode_head-{dtype}",
            kernel="kernels.decode_head.triton_gpu:decode_head_kernel",
            signature={
                "hidden": f"*{dtype}",
                "weight": f"*{dtype}",
                "bias": "*fp32",
                "out": "*fp32",
                "batch": "i32",
                "step": "fp32",
            },  # fmt: skip
            constexprs={"INPUTS": 32, "BLOCK_INPUTS": 32, "BINS": 601, "BLOCK_ROWS": 16, "BLOCK_BINS": 128},
            aligned=("hidden", "weight", "bias", "out"),
            options={"num_warps": 4},
            max_shared_bytes=shared,
            max_registers=128,
        )
        for dtype, shared in (("bf16", 17920), ("fp32", 35328))
    ),
    Case(
        name="decode_logits",
        kernel="kernels.decode_head.triton_gpu:decode_logits_kernel",
        signature={"logits": "*bf16", "out": "*fp32", "batch": "i32", "step": "fp32"},
        constexprs={"BINS": 601, "BLOCK_ROWS": 16, "BLOCK_BINS": 128},
        aligned=("logits", "out"),
        options={"num_warps": 4},
        max_shared_bytes=1024,
    ),
    *(
        Case(
            name=f"lstm_pointwise-{dtype}-reset-{has_reset}" + "-node" * has_node,
            kernel="kernels.lstm_cell.triton_gpu:lstm_pointwise_kernel",
            signature={
                "gates": f"*{dtype}",
                "bias": "*fp32",
                "c": "*fp32",
                "reset": "*i1" if has_reset else "*fp32",
                "output": f"*{dtype}",
                "h_out": f"*{dtype}",
                "c_out": "*fp32",
                "node": "*i64" if has_node else "*fp32",
                "units": "i32",
            },  # fmt: skip
            constexprs={
                "HIDDEN": 512,
                "HAS_RESET": has_reset,
                "KEEPS_H": has_reset,
                "HAS_NODE": has_node,
                "BLOCK": 512,
            },  # fmt: skip
            aligned=("gates", "bias", "c", "reset", "output", "h_out", "c_out", "node"),
            options={"num_warps": 4},
            max_registers=64,
        )
        for dtype, has_reset, has_node in (("bf16", True, False), ("bf16", True, True), ("fp32", False, False))
    ),
    *(
        Case(
            name=f"stack_gather-{dtype}-{frames}",
            kernel="kernels.stack_gather.triton_gpu:stack_gather_kernel",
            signature={
                "frames": "*u8",
                "first": "*i1",
                "lane": "*i64",
                "step": "*i64",
                "shift": "*i32",
                "scale": "*fp32",
                "out": f"*{dtype}",
                "num_rows": "i32",
            },  # fmt: skip
            constexprs={
                "HEIGHT": 96,
                "WIDTH": 96,
                "CHANNELS": 3,
                "STACK": 4,
                "SKIP": frames - 4,
                "FRAMES": 4,
                "OUT_CHANNELS": channels,
                "BLOCK_CHANNELS": 16,
                "HAS_SHIFT": True,
                "HAS_SCALE": True,
                "BLOCKS": 36,
                "BLOCK_PIXELS": 256,
            },  # fmt: skip
            aligned=("frames", "first", "lane", "step", "shift", "scale", "out"),
            options={"num_warps": 4},
            max_shared_bytes=4096,  # to turn what was loaded into what is stored; Triton 3.7 does without
            max_registers=128,
        )
        for dtype, frames, channels in (("bf16", 4, 16), ("fp32", 9, 12))
    ),
    Case(
        name="augment_draws",
        kernel="kernels.stack_gather.triton_gpu:augment_draws_kernel",
        signature={
            "train_step": "*i64",
            "shift": "*i32",
            "scale": "*fp32",
            "samples": "i32",
            "seed": "i64",
            "stream": "i32",
            "view": "i32",
            "first_sample": "i32",
            "intensity_scale": "fp32",
        },  # fmt: skip
        constexprs={"SHIFT_PX": 4, "BLOCK_SAMPLES": 128},
        aligned=("train_step", "shift", "scale"),
        options={"num_warps": 4},
        max_stack_bytes=32,  # of the cosine, for angles far beyond a turn
        max_registers=64,
    ),
]
