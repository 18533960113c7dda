"""A role process on a GPU that is not here: every operation that launches a Triton kernel, on fake tensors of cuda:N.

Run in a process of its own, whose torch.cuda it replaces: the current device is a number, and in the place of the
kernels' run method stands one that notes it.
"""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.overrides import TorchFunctionMode

from kernels.conv3x3_latent import conv3x3_latent
from kernels.conv3x3_latent.layout import zero_rows
from kernels.decode_head import decode_head
from kernels.expand_backup import bind_expand_backup
from kernels.fused_tree import bind_expand_then_select
from kernels.gumbel_select import GumbelRule, bind_gumbel
from kernels.lstm_cell import LSTMStep, lstm_pointwise
from kernels.parent_gather import States, parent_gather
from kernels.puct_select import PuctRule, bind_puct_select
from kernels.stack_gather import augment_draws, stack_gather
from kernels.tree import bare_tree
from speedyzero.runtime.role_process import ProcessSpec, role_process

BATCH, ACTIONS, SIMULATIONS, CHANNELS, GRID, HIDDEN = 3, 2, 4, 16, 4, 8


def launch_everything(spec: ProcessSpec, path: Path) -> None:
    """Write [kernel, current device, devices of its tensors] of each launch."""
    from triton.runtime.jit import JITFunction

    current, launches = [0], []

    def run(self, *args, **kwargs) -> None:
        devices = {str(tensor.device) for tensor in args if isinstance(tensor, torch.Tensor)}
        launches.append((self.fn.__name__, current[0], sorted(devices)))

    JITFunction.run = run
    torch.cuda.set_device = lambda device: current.__setitem__(0, torch.device(device).index)
    torch.cuda.current_device = lambda: current[0]
    card = SimpleNamespace(major=9, minor=0, shared_memory_per_block_optin=232_448, name="a card")
    torch.cuda.get_device_properties = lambda device: card
    with role_process(spec), FakeTensorMode(), _Selecting():
        device = torch.device(spec.device)
        for operation in (*TREE_OPERATIONS, *NETWORK_OPERATIONS):
            operation(device)
        path.write_text(json.dumps(launches))


class _Selecting(TorchFunctionMode):
    """x[numbers, None, slices] without the device guard that torch makes for it, which needs a build with CUDA."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func is not torch.Tensor.__getitem__:
            return func(*args, **(kwargs or {}))
        x, index = args
        axis = 0
        for one in index if isinstance(index, tuple) else (index,):
            if isinstance(one, int):
                x = x.select(axis, one)
                continue
            x = x.unsqueeze(axis) if one is None else torch.ops.aten.slice.Tensor(x, axis, one.start, one.stop)
            axis += 1
        return x


def of_trees(algorithm: str) -> Callable[[torch.device], None]:
    def operations(device: torch.device) -> None:
        tree = bare_tree(BATCH, ACTIONS, num_simulations=SIMULATIONS, device=device)
        simulation = torch.empty(1, dtype=torch.int32, device=device)
        numbers, logits = torch.empty(BATCH, device=device), torch.empty(BATCH, ACTIONS, device=device)
        rule: PuctRule | GumbelRule
        if algorithm == "puct":
            rule = PuctRule(torch.empty(SIMULATIONS, device=device), 0.01, 0, tie_seed=5)
            bind_puct_select(tree, rule, backend="triton")(simulation)
        else:
            rule = GumbelRule(logits, (0,) * SIMULATIONS, 50.0, 0.1, 1e-8, 0)
            gumbel = bind_gumbel(tree, rule, backend="triton")
            gumbel.select(simulation)
            gumbel.root_sigma()
        how = {"discount": 0.9, "has_prefix": False}
        bind_expand_backup(tree, **how, backend="triton")(simulation, numbers, numbers, logits)
        bind_expand_then_select(tree, rule, **how)(simulation, numbers, numbers, logits)

    return operations


def convolve(device: torch.device) -> None:
    rows = zero_rows(BATCH, CHANNELS, GRID, dtype=torch.bfloat16, device=device)
    weight = torch.empty(9, CHANNELS, CHANNELS, dtype=torch.bfloat16, device=device)
    conv3x3_latent(rows, weight, torch.empty(CHANNELS, device=device), batch=BATCH, grid=GRID)


def decode(device: torch.device) -> None:
    hidden, weight = torch.empty(BATCH, 8, device=device), torch.empty(5, 8, device=device)
    decode_head(hidden, weight, torch.empty(5, device=device), step=1.0)


def lstm(device: torch.device) -> None:
    gates, bias = torch.empty(BATCH, 4 * HIDDEN, device=device), torch.empty(4 * HIDDEN, device=device)
    output, states = torch.empty(BATCH, HIDDEN, device=device), torch.empty(2, BATCH, HIDDEN, device=device)
    reset = torch.empty(BATCH, dtype=torch.bool, device=device)
    node = torch.empty(1, dtype=torch.int64, device=device)
    lstm_pointwise(gates, bias, output, reset=reset, node=node, out=LSTMStep(output, states, states))


def gather_parents(device: torch.device) -> None:
    rows = zero_rows(BATCH, CHANNELS, GRID, dtype=torch.bfloat16, device=device)
    nodes, row = States(rows[None], None, None), torch.empty(BATCH, dtype=torch.int64, device=device)
    parent_gather(nodes, row, States(rows, None, None), batch=BATCH, grid=GRID)


def gather_stacks(device: torch.device) -> None:
    frames = torch.empty(2, 9, 4, 4, 3, dtype=torch.uint8, device=device)
    place = torch.empty(BATCH, dtype=torch.int64, device=device)
    stack_gather(frames, torch.empty(2, 9, dtype=torch.bool, device=device), place, place, stack=2)
    augment_draws(place[:1], batch=BATCH, seed=0, stream=0, view=0, shift_px=4, intensity_scale=0.05)


def norms(device: torch.device) -> None:
    """Both passes by hand: a graph of autograd needs a build with CUDA, whose thread sets its device by itself."""
    from kernels.norm_act.triton_gpu import NormAct

    x = torch.empty(BATCH, CHANNELS, device=device)
    of_channels = [torch.empty(CHANNELS, device=device) for _ in range(4)]
    kept = SimpleNamespace(save_for_backward=lambda *tensors: setattr(kept, "saved_tensors", tensors))
    NormAct.backward(kept, NormAct.forward(kept, x, *of_channels, None, 1e-5, 0.1))


TREE_OPERATIONS = (of_trees("puct"), of_trees("gumbel"))
NETWORK_OPERATIONS = (convolve, decode, lstm, gather_parents, gather_stacks, norms)
