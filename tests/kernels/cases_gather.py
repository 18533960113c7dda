"""How parent_gather is compiled, and what it may cost."""

from __future__ import annotations

from tests.kernels.sm90 import Case

CASES = [
    Case(
        name=f"parent_gather-{dtype}-{hidden}",
        kernel="kernels.parent_gather.triton_gpu:parent_gather_kernel",
        signature={
            "parent_row": "*i64",
            "latent": f"*{dtype}",
            "latent_out": f"*{dtype}",
            "h": f"*{dtype}",
            "h_out": f"*{dtype}",
            "c": "*fp32" if hidden else f"*{dtype}",
            "c_out": "*fp32" if hidden else f"*{dtype}",
            "batch": "i32",
            "row_count": "i32",
        },
        constexprs={
            "CHANNELS": 64,
            "MARGIN": 8,
            "IMAGE": 49,
            "HIDDEN": hidden,
            "H_STRIDE": 576 + hidden if hidden else 0,
            "BLOCK": 1024,
        },
        aligned=("parent_row", "latent", "latent_out", "h", "h_out", "c", "c_out"),
        options={"num_warps": 4},
        max_shared_bytes=4096 if hidden else 0,  # c is rearranged there after h, whose numbers are half as wide
        max_registers=64,
    )
    for dtype, hidden in (("bf16", 512), ("fp32", 0))
]
