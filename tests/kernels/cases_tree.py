"""How the tree kernels are compiled, and what they may cost: registers of one warp, and no memory."""

from __future__ import annotations

from kernels.triton_tree import LAUNCH, lanes
from tests.kernels.sm90 import Case

_TREE = {
    "edge_floats": "*fp32", "edge_ints": "*i32", "node_floats": "*fp32", "node_ints": "*i32", "roots": "*fp32",
    "leaf_action": "*i64", "parent_row": "*i64", "reset": "*i1", "batch": "i32", "nodes": "i32",
}  # fmt: skip
_SIMULATION = {"simulation": "*i32"}
_LEAF = {"leaf_reward": "*fp32", "leaf_value": "*fp32", "leaf_logits": "*fp32", "discount": "fp32"}
_PUCT = {"exploration": "*fp32", "value_delta_max": "fp32"}
_GUMBEL_SCALE = {"c_visit": "fp32", "c_scale": "fp32", "min_q_range": "fp32"}
_GUMBEL = {"gumbel_logit": "*fp32", "considered_visits": "*i32", **_GUMBEL_SCALE}

# kernel, arguments besides the tree's, compile-time constants
_KERNELS = {
    "puct_select": (
        "kernels.puct_select.triton_gpu:_puct_select",
        {**_SIMULATION, **_PUCT},
        {"tie_seed": None, "PREFIX_HORIZON": 5},
    ),
    "puct_select-random-ties": (
        "kernels.puct_select.triton_gpu:_puct_select",
        {**_SIMULATION, **_PUCT, "tie_seed": "*i64"},
        {"PREFIX_HORIZON": 0},
    ),
    "gumbel_select": (
        "kernels.gumbel_select.triton_gpu:_gumbel_select",
        {**_SIMULATION, **_GUMBEL},
        {"PREFIX_HORIZON": 5},
    ),
    "root_sigma": (
        "kernels.gumbel_select.triton_gpu:_root_sigma",
        {"sigma": "*fp32", **_GUMBEL_SCALE},
        {},
    ),
    "expand_backup": (
        "kernels.expand_backup.triton_gpu:_expand_backup",
        {**_SIMULATION, **_LEAF},
        {"HAS_PREFIX": True},
    ),
    "expand_then_puct_select": (
        "kernels.fused_tree.triton_gpu:_expand_then_puct_select",
        {**_SIMULATION, **_LEAF, **_PUCT},
        {"tie_seed": None, "HAS_PREFIX": True, "PREFIX_HORIZON": 5},
    ),
    "expand_then_gumbel_select": (
        "kernels.fused_tree.triton_gpu:_expand_then_gumbel_select",
        {**_SIMULATION, **_LEAF, **_GUMBEL},
        {"HAS_PREFIX": True, "PREFIX_HORIZON": 5},
    ),
}

CASES = [
    Case(
        name=f"{name}-{actions}-actions",
        kernel=kernel,
        signature={**_TREE, **types},
        constexprs={**constants, **lanes(actions)},
        options=LAUNCH,
        max_registers=72,
        min_barriers=("expand" in name) + ("then" in name),  # between a thread's store and the others' load
        absent=("div.full", "div.approx", "fma.rn"),
    )
    for name, (kernel, types, constants) in _KERNELS.items()
    for actions in ((1, 18, 100) if "then" in name else (18,))
]
