"""The search loop: select a leaf in every tree, run the model once on all of them, add the leaves, back up.

Called by the actor, the reanalyzer and the evaluator. MuZero (Schrittwieser et al. 2020), EfficientZero (Ye et al.
2021) for the value prefix, Gumbel MuZero (Danihelka et al. 2022). Rows of a batch never influence one another.

Axes: B roots, A actions, S simulations.
"""

from __future__ import annotations

import os

import torch

from kernels.expand_backup import bind_expand_backup
from speedyzero.config import SearchConfig
from speedyzero.search.gumbel import GumbelSearch
from speedyzero.search.interface import RecurrentFn, RootOutput, SearchResult, StepOutput
from speedyzero.search.latents import LatentStore
from speedyzero.search.noise import draw_noise
from speedyzero.search.puct import PuctSearch

_ALGORITHMS: dict[str, type[PuctSearch] | type[GumbelSearch]] = {"puct": PuctSearch, "gumbel": GumbelSearch}


def search(
    root: RootOutput,
    recurrent_fn: RecurrentFn,
    config: SearchConfig,
    noise: torch.Tensor | None = None,
    generator: torch.Generator | None = None,
) -> SearchResult:
    """Search from every root of a batch.

    recurrent_fn(state, action [B] int64) -> StepOutput is called S times, under inference mode. Its state's tensors
    have the shapes, types and memory layouts of the root's.
    noise: the Dirichlet sample (puct) or the standard Gumbel sample (gumbel) of the roots, [B, A]; None draws it from
    `generator` (torch's default one without), and draws nothing where the configuration uses no noise. With
    first_pick "uniform" the seed of the ties is drawn from it too, whether or not noise is given.

    Raises ValueError for an unknown algorithm or backend, for shapes that don't fit, and for types other than float32.
    """
    backend = _backend(config.backend, root.policy_logits.device)
    _check_root(root, config, noise)
    with torch.inference_mode():
        chance = draw_noise(root.policy_logits, config, noise, generator)
        algorithm = _ALGORITHMS[config.algorithm](root, config, chance, backend=backend)
        _simulate(algorithm, root, recurrent_fn, config, backend)
    with torch.no_grad():  # not inference tensors: results may enter a loss
        return algorithm.result()


def _simulate(
    algorithm: PuctSearch | GumbelSearch,
    root: RootOutput,
    recurrent_fn: RecurrentFn,
    config: SearchConfig,
    backend: str,
) -> None:
    tree, select = algorithm.tree, algorithm.select
    horizon, simulations = config.prefix_horizon, config.num_simulations
    expand_backup = bind_expand_backup(tree, discount=config.discount, has_prefix=horizon > 0, backend=backend)
    latents = LatentStore(root.state, num_nodes=simulations)  # nothing is searched from the last leaf
    actions = tree.action.unbind(0)
    for simulation in range(simulations):
        select(simulation)
        step = recurrent_fn(latents.gather(tree.parent_row), actions[simulation])
        if simulation == 0:
            _check_step(step, root)
        expand_backup(simulation, step.reward.contiguous(), step.value.contiguous(), step.policy_logits.contiguous())
        leaf = simulation + 1
        if leaf < simulations:
            latents.write(leaf, step.state)
            if horizon and leaf >= horizon:  # no leaf is deeper than the number of simulations
                latents.reset_prefix(leaf, tree.reset)


def _backend(backend: str, device: torch.device) -> str:
    """The form of the tree's kernels for tensors on `device`. TRITON_INTERPRET=1 has Triton's run on the CPU."""
    if backend == "auto":
        return {"cpu": "numba", "cuda": "triton"}.get(device.type, "reference")
    if backend not in ("reference", "numba", "triton"):
        raise ValueError(f"search.backend={backend}: must be auto, reference, numba or triton")
    if backend == "numba" and device.type != "cpu":
        raise ValueError(f"search.backend=numba needs CPU tensors, got {device}: use auto")
    if backend == "triton" and device.type != "cuda" and os.environ.get("TRITON_INTERPRET") != "1":
        raise ValueError(f"search.backend=triton needs CUDA tensors, got {device} without TRITON_INTERPRET=1: use auto")
    return backend


def _check_root(root: RootOutput, config: SearchConfig, noise: torch.Tensor | None) -> None:
    if config.algorithm not in _ALGORITHMS:
        raise ValueError(f"search.algorithm={config.algorithm}: must be one of {', '.join(_ALGORITHMS)}")
    if config.num_simulations < 1:
        raise ValueError(f"search.num_simulations={config.num_simulations}: must be 1 or more")
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


def _check_step(step: StepOutput, root: RootOutput) -> None:
    """The kernels take sizes and types on trust, so a model is checked once a search."""
    _expect("reward of the recurrent function", step.reward, root.value.shape)
    _expect("value of the recurrent function", step.value, root.value.shape)
    _expect("policy_logits of the recurrent function", step.policy_logits, root.policy_logits.shape)


def _expect(name: str, tensor: torch.Tensor, shape: torch.Size | tuple[int, ...]) -> None:
    if tensor.shape != shape or tensor.dtype != torch.float32:
        raise ValueError(f"{name}: {list(tensor.shape)} {tensor.dtype}, must be {list(shape)} torch.float32")
