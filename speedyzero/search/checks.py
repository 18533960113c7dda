"""Checks of a search's inputs: the kernels do not check sizes and types.

Axes: B roots, A actions.
"""

import os

import torch

from speedyzero.config import SearchConfig, choices
from speedyzero.search.interface import RootOutput, StepOutput

_ALGORITHMS, _BACKENDS = choices(SearchConfig, "algorithm"), choices(SearchConfig, "backend")


def backend_for(backend: str, device: torch.device) -> str:
    """The tree kernels' backend for tensors on `device`. With TRITON_INTERPRET=1 Triton's kernels run on the CPU.

    Raises ValueError for an unknown backend, and for one that does not work on the device.
    """
    if backend == "auto":
        return {"cpu": "numba", "cuda": "triton"}.get(device.type, "reference")
    if backend not in _BACKENDS:
        raise ValueError(f"search.backend={backend}: must be one of {', '.join(_BACKENDS)}")
    if backend == "numba" and device.type != "cpu":
        raise ValueError(f"search.backend=numba needs CPU tensors, got {device}: use auto")
    if backend == "triton" and device.type != "cuda" and os.environ.get("TRITON_INTERPRET") != "1":
        raise ValueError(f"search.backend=triton needs CUDA tensors, got {device} without TRITON_INTERPRET=1: use auto")
    return backend


def check_root(root: RootOutput, config: SearchConfig, noise: torch.Tensor | None) -> None:
    """Raises ValueError for an unknown algorithm, for shapes that don't fit, and for types other than float32."""
    if config.algorithm not in _ALGORITHMS:
        raise ValueError(f"search.algorithm={config.algorithm}: must be one of {', '.join(_ALGORITHMS)}")
    if config.num_simulations < 1:
        raise ValueError(f"search.num_simulations={config.num_simulations}: must be 1 or more")
    if config.min_max != "edges" and (
        config.algorithm != "puct" or backend_for(config.backend, root.value.device) == "triton"
    ):
        raise ValueError(f"search.min_max={config.min_max} needs search.algorithm=puct on the CPU: use edges")
    logits = root.policy_logits
    if logits.ndim != 2 or 0 in logits.shape:
        raise ValueError(f"the root's policy_logits are {list(logits.shape)}, must be [B, A] with B, A >= 1")
    batch = logits.shape[0]
    _expect("the root's policy_logits", logits, logits.shape)
    _expect("the root's value", root.value, (batch,))
    for key, tensor in root.state.items():
        if tensor.ndim == 0 or tensor.shape[0] != batch:
            raise ValueError(f"the root's state[{key!r}] is {list(tensor.shape)}, must be [{batch}, ...]")
    if noise is not None:
        _expect("noise", noise, logits.shape)


def check_step(step: StepOutput, *, batch: int, actions: int) -> None:
    """Raises ValueError if a model's output does not fit its roots."""
    _expect("reward of the recurrent function", step.reward, (batch,))
    _expect("value of the recurrent function", step.value, (batch,))
    _expect("policy_logits of the recurrent function", step.policy_logits, (batch, actions))


def _expect(name: str, tensor: torch.Tensor, shape: torch.Size | tuple[int, ...]) -> None:
    if tensor.shape != shape or tensor.dtype != torch.float32:
        raise ValueError(f"{name}: {list(tensor.shape)} {tensor.dtype}, must be {list(shape)} torch.float32")
