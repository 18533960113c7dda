"""How norm_act's kernels are compiled, and what they may cost: for the stem's images and for a hidden layer."""

from __future__ import annotations

from collections.abc import Iterator

from tests.kernels.sm90 import Case

TENSORS = ("x", "residual", "y", "dy", "dx", "dresidual")  # of x's type; all others are float32


def cases(dtype: str, *, channels: int, block_rows: int, tiles: int, has_residual: bool) -> Iterator[Case]:
    block = {"CHANNELS": channels, "BLOCK_ROWS": block_rows, "BLOCK_CHANNELS": min(64, channels)}
    with_tiles, with_residual = {**block, "TILES": tiles}, {**block, "HAS_RESIDUAL": has_residual}
    kernels = {
        "statistics": ("x mean_out m2_out", with_tiles),
        "apply": ("x residual mean rstd weight bias y", with_residual),
        "reduce": ("x y dy mean rstd sums", with_tiles),
        "gradient": ("x y dy mean rstd weight sums dx dresidual", with_residual),
    }
    for name, (tensors, constexprs) in kernels.items():
        pointers = {tensor: f"*{dtype}" if tensor in TENSORS else "*fp32" for tensor in tensors.split()}
        yield Case(
            name=f"norm_act-{name}-{dtype}-{channels}",
            kernel=f"kernels.norm_act.triton_gpu:{name}_kernel",
            signature={**pointers, "rows": "i32", **({"parts": "i32"} if name == "reduce" else {})},
            constexprs=constexprs,
            aligned=(*pointers, "rows"),
            options={"num_warps": 4},
            max_shared_bytes=1024 if name in ("statistics", "reduce") else 0,  # sums over the warps' rows
            max_registers=128,
            absent=("max.f32",) if name == "apply" else (),  # it makes 0 of NaN, which the interpreter's does not
        )


CASES = [
    *cases("bf16", channels=32, block_rows=128, tiles=128, has_residual=True),
    *cases("bf16", channels=64, block_rows=64, tiles=4, has_residual=False),
    *cases("fp32", channels=512, block_rows=64, tiles=1, has_residual=False),
    Case(
        name="norm_act-combine",
        kernel="kernels.norm_act.triton_gpu:combine_kernel",
        signature={
            **dict.fromkeys("partial_mean partial_m2 mean_out rstd_out running_mean running_var".split(), "*fp32"),
            "rows": "i32",
            "parts": "i32",
            "eps": "fp32",
            "momentum": "fp32",
        },
        constexprs={"CHANNELS": 64, "ROWS_EACH": 4096, "BLOCK_PARTS": 64, "BLOCK_CHANNELS": 16},
        aligned=("partial_mean", "partial_m2", "mean_out", "rstd_out", "running_mean", "running_var"),
        options={"num_warps": 4},
        max_shared_bytes=1024,
        max_registers=64,
    ),
]
