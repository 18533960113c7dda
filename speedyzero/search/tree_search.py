"""The search loop: select a leaf in every tree, run the model once on all of them, add the leaves, back up.

Called by the actor, the reanalyzer and the evaluator. MuZero (Schrittwieser et al. 2020), EfficientZero (Ye et al.
2021) for the value prefix, Gumbel MuZero (Danihelka et al. 2022). Rows of a batch never influence one another.

The function keeps no state between calls and captures nothing: a captured graph needs fixed addresses, and the lifetime
of memory that a function closes over is unknown. A `Searcher` keeps buffers and graphs for one model.

Axes: B roots, A actions, S simulations.
"""

import torch

from kernels.expand_backup import bind_expand_backup
from kernels.expand_backup.depth_first import bind_depth_first_range
from speedyzero.config import SearchConfig
from speedyzero.search.checks import backend_for, check_root, check_step
from speedyzero.search.interface import RecurrentFn, RootOutput, SearchResult, StepModel
from speedyzero.search.latents import LatentStore
from speedyzero.search.noise import draw_noise
from speedyzero.search.searcher import Searcher
from speedyzero.search.state_step import StateStep
from speedyzero.search.static_search import ALGORITHMS, TreeAlgorithm


def search(
    root: RootOutput,
    recurrent_fn: RecurrentFn,
    config: SearchConfig,
    noise: torch.Tensor | None = None,
    generator: torch.Generator | None = None,
) -> SearchResult:
    """Search from every root of a batch.

    recurrent_fn(state, action [B] int64) -> StepOutput is called S times, under inference mode. Its state's tensors
    have the shapes, types and memory layouts of the root's. With the backend triton a `StepModel`'s `step_into` is
    called instead.
    noise: the Dirichlet sample (puct) or the standard Gumbel sample (gumbel) of the roots, [B, A]; None draws it from
    `generator` (torch's default one without), and draws nothing where the configuration uses no noise. With
    first_pick "uniform" the seed of the ties is drawn from it too, whether or not noise is given.

    Raises ValueError for an unknown algorithm or backend, for shapes that don't fit, and for types other than float32.
    """
    backend = backend_for(config.backend, root.policy_logits.device)
    if backend == "triton":
        model = recurrent_fn if isinstance(recurrent_fn, StepModel) else StateStep(recurrent_fn)
        return Searcher(model, launch="eager", pad=int).search(root, config, noise, generator)
    check_root(root, config, noise)
    with torch.inference_mode():
        chance = draw_noise(root.policy_logits, config, noise, generator)
        algorithm = ALGORITHMS[config.algorithm](root, config, chance, backend=backend)
        _simulate(algorithm, root, recurrent_fn, config, backend)
    with torch.no_grad():  # not inference tensors: results may enter a loss
        return algorithm.result()


def _simulate(
    algorithm: TreeAlgorithm,
    root: RootOutput,
    recurrent_fn: RecurrentFn,
    config: SearchConfig,
    backend: str,
) -> None:
    tree, select = algorithm.tree, algorithm.select
    horizon, simulations = config.prefix_horizon, config.num_simulations
    expand_backup = bind_expand_backup(tree, discount=config.discount, has_prefix=horizon > 0, backend=backend)
    normalise = bind_depth_first_range(tree, discount=config.discount) if config.min_max == "depth_first" else None
    latents = LatentStore(root.state, num_nodes=simulations)  # nothing is searched from the last leaf
    actions = tree.action.unbind(0)
    for simulation in range(simulations):
        select(simulation)
        step = recurrent_fn(latents.gather(tree.parent_row), actions[simulation])
        if simulation == 0:
            check_step(step, batch=len(root.value), actions=root.policy_logits.shape[1])
        expand_backup(simulation, step.reward.contiguous(), step.value.contiguous(), step.policy_logits.contiguous())
        if normalise is not None:
            normalise()
        leaf = simulation + 1
        if leaf < simulations:
            latents.write(leaf, step.state)
            if horizon and leaf >= horizon:  # no leaf is deeper than the number of simulations
                latents.reset_prefix(leaf, tree.reset)
