"""How the network's kernels are compiled, and what they may cost."""

from __future__ import annotations

from tests.kernels.sm90 import Case

CASES: list[Case] = [
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
            max_registers=128,  # four programs on a multiprocessor
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
        max_registers=128,
    ),
    *(
        Case(
            name=f"lstm_pointwise-{dtype}-reset-{has_reset}",
            kernel="kernels.lstm_cell.triton_gpu:lstm_pointwise_kernel",
            signature={
                "gates": f"*{dtype}",
                "bias": "*fp32",
                "c": "*fp32",
                "reset": "*i1" if has_reset else "*fp32",
                "output": f"*{dtype}",
                "h_out": f"*{dtype}",
                "c_out": "*fp32",
                "units": "i32",
            },  # fmt: skip
            constexprs={"HIDDEN": 512, "HAS_RESET": has_reset, "BLOCK": 512},
            aligned=("gates", "bias", "c", "reset", "output", "h_out", "c_out"),
            options={"num_warps": 4},
            max_registers=64,
        )
        for dtype, has_reset in (("bf16", True), ("fp32", False))
    ),
]
