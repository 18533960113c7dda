"""How the tree kernels are compiled, and what they may cost: registers of one warp, and no memory."""

from __future__ import annotations

from kernels.triton_tree import LAUNCH, lanes
from tests.kernels.sm90 import Case, arguments

TREE = (
    "edge_floats:*fp32 edge_ints:*i32 node_floats:*fp32 node_ints:*i32 roots:*fp32 leaf_action:*i64 parent_row:*i64 "
    "reset:*i1 batch:i32 nodes:i32 "
)
SIMULATION = "simulation:*i32 "
LEAF = "leaf_reward:*fp32 leaf_value:*fp32 leaf_logits:*fp32 discount:fp32 "
PUCT = "exploration:*fp32 value_delta_max:fp32 "
GUMBEL_SCALE = "c_visit:fp32 c_scale:fp32 min_q_range:fp32 "
GUMBEL = "gumbel_logit:*fp32 considered_visits:*i32 " + GUMBEL_SCALE

# kernel, arguments besides the tree's, compile-time constants
KERNELS = {
    "puct_select": ("puct_select", SIMULATION + PUCT, {"tie_seed": None, "PREFIX_HORIZON": 5}),
    "puct_select-random-ties": ("puct_select", SIMULATION + PUCT + "tie_seed:*i64", {"PREFIX_HORIZON": 0}),
    "gumbel_select": ("gumbel_select", SIMULATION + GUMBEL, {"PREFIX_HORIZON": 5}),
    "root_sigma": ("gumbel_select.triton_gpu:_root_sigma", "sigma:*fp32 " + GUMBEL_SCALE, {}),
    "expand_backup": ("expand_backup", SIMULATION + LEAF, {"HAS_PREFIX": True}),
    "expand_then_puct_select": (
        "fused_tree.triton_gpu:_expand_then_puct_select",
        SIMULATION + LEAF + PUCT,
        {"tie_seed": None, "HAS_PREFIX": True, "PREFIX_HORIZON": 5},
    ),
    "expand_then_gumbel_select": (
        "fused_tree.triton_gpu:_expand_then_gumbel_select",
        SIMULATION + LEAF + GUMBEL,
        {"HAS_PREFIX": True, "PREFIX_HORIZON": 5},
    ),
}

CASES = [
    Case(
        name=f"{name}-{actions}-actions",
        kernel="kernels." + (kernel if ":" in kernel else f"{kernel}.triton_gpu:_{kernel}"),
        signature=arguments(TREE + types),
        constexprs={**constants, **lanes(actions)},
        aligned=(),
        options=LAUNCH,
        max_registers=72,
        min_barriers=("expand" in name) + ("then" in name),  # between a thread's store and the others' load
        absent=("div.full", "div.approx", "fma.rn"),
    )
    for name, (kernel, types, constants) in KERNELS.items()
    for actions in ((1, 18, 100) if "then" in name else (18,))
]
