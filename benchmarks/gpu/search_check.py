"""Whole searches on the device against numba on the CPU: the same visits, and for a bfloat16 network nearly the same.

Table models give the same numbers on both sides, so every root must have the same visits, but for those whose choice
hangs on the last bit of an exponential: SAME_ROOTS of all must be equal, and equal roots' values agree to 1e-5. What
is compared is a replay, after searches with other noise.

The real network in bfloat16 on the device is compared with float32 on the CPU: the total variation distance between the
two distributions of visits, over the roots on average at most NETWORK_DISTANCE, and at most a third of the distance
that another sample of noise makes. (Rounding every layer of that network to bfloat16 on the CPU gave 0.01.)
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch

from benchmarks.gpu.context import Context
from benchmarks.gpu.networks import atari_config, frame_spec, random_frames, random_weights
from speedyzero.model.agent import Agent
from speedyzero.search import RecurrentFn, RootOutput, SearchConfig, Searcher, SearchResult, StateStep, search
from tests.search.models import TableModel, dirichlet, gumbel, root_states

# The ways a search can be launched (docs/design/search.md).
FUNCTION = "function"  # search() of a closure, which keeps nothing between calls
LAUNCHES = {"eager": "eager", "per-simulation graph": "simulation", "whole graph": "whole"}
MODES = (FUNCTION, *LAUNCHES)
CALLS_TO_REPLAY = 3  # the first call runs eagerly, the second captures and replays, all others replay
SAME_ROOTS = 0.999
VALUE_TOLERANCE = 1e-5
NETWORK_DISTANCE = 0.05
TIE_SEED = 9
SETTINGS: dict[str, dict[str, Any]] = {
    "puct": {"prefix_horizon": 3},
    "puct random ties": {"prefix_horizon": 3, "first_pick": "uniform"},
    "puct rewards": {"prefix_horizon": 0},
    "gumbel": {"prefix_horizon": 3, "algorithm": "gumbel"},
}


@dataclass
class Tally:
    """One mode of the search over all sizes."""

    roots: int = 0
    differing: int = 0
    worst_value_error: float = 0.0  # among roots of equal visits
    differing_cases: dict[str, int] = field(default_factory=dict)

    def failures(self, mode: str) -> list[str]:
        found = []
        if self.differing > (1.0 - SAME_ROOTS) * self.roots:
            found.append(f"{mode}: {self.differing} of {self.roots} roots differ: {self.differing_cases}")
        if not self.worst_value_error <= VALUE_TOLERANCE:
            found.append(f"{mode}: a value is off by {self.worst_value_error:.1e} > {VALUE_TOLERANCE:.0e}")
        return found


def run(context: Context) -> dict[str, Any]:
    batches, actions = context.size((63, 7, 1), (3,)), context.size((18, 6, 2), (2,))
    simulations = context.size((50, 16, 1), (4,))
    tallies = {mode: Tally() for mode in context.size(MODES, MODES[:2])}  # on the CPU there are no graphs to tell apart
    large = [("puct", 4096, 18, 16)] if not context.is_rehearsal else []
    sizes = [*large, *((n, b, a, s) for s, a, b, n in itertools.product(simulations, actions, batches, SETTINGS))]
    network_cases = {f"network, {algorithm}": partial(check_network, context, algorithm) for algorithm in ALGORITHMS}
    table_cases = {
        f"{name} B={b} A={a} S={s}": partial(check_tables, tallies, name, b, a, s, context.device)
        for name, b, a, s in sizes
    }
    found = context.all_in_time({**network_cases, **table_cases})
    network = {name: found[name] for name in network_cases if name in found}
    failures = [failure for mode, tally in tallies.items() for failure in tally.failures(mode)]
    failures += [failure for one in network.values() for failure in one.pop("failures")]
    for mode, tally in tallies.items():
        print(f"{mode:22} {tally.differing} of {tally.roots} roots differ, values to {tally.worst_value_error:.1e}")
    for name, one in network.items():
        print(f"{name:22} {one}")
    differing, roots = sum(tally.differing for tally in tallies.values()), sum(one.roots for one in tallies.values())
    seen = f"{differing} of {roots} roots differ"
    return {"tables": tallies, "network": network, "seen": seen, "failures": failures}


Search = Callable[[torch.Tensor, torch.Generator | None], SearchResult]


def searcher(mode: str, root: RootOutput, recurrent: RecurrentFn, config: SearchConfig) -> Search:
    """A function of the noise and the generator that searches from the roots."""
    if mode == FUNCTION:
        return lambda noise, generator: search(root, recurrent, config, noise, generator)
    kept = Searcher(StateStep(recurrent), launch=LAUNCHES[mode])
    return lambda noise, generator: kept.search(root, config, noise, generator)


def check_tables(
    tallies: dict[str, Tally], name: str, batch: int, actions: int, simulations: int, device: torch.device
) -> None:
    config = SearchConfig(num_simulations=simulations, backend="triton", **SETTINGS[name])
    model = TableModel.random(batch + actions, actions, has_prefix=config.prefix_horizon > 0)
    states = root_states(3, batch)
    noise = torch.from_numpy((dirichlet if config.algorithm == "puct" else gumbel)(4, batch, actions))

    def generator() -> torch.Generator:
        return torch.Generator().manual_seed(TIE_SEED)

    on_cpu = replace(config, backend="numba")
    want = search(model.root(states), model.recurrent, on_cpu, noise, generator())
    tables = model.on(device)
    for mode, tally in tallies.items():
        run_search = searcher(mode, tables.root(states), tables.recurrent, config)
        for _ in range(CALLS_TO_REPLAY - 1 if device.type == "cuda" else 0):
            run_search(noise.flip(0).to(device), generator())
        got = run_search(noise.to(device), generator())
        same = (got.visits.cpu() == want.visits).all(-1)
        tally.roots += batch
        if not same.all():
            tally.differing += int((~same).sum())
            tally.differing_cases[f"{name} B={batch} A={actions} S={simulations}"] = int((~same).sum())
        error = (got.value.cpu() - want.value)[same].abs().nan_to_num(nan=torch.inf)
        tally.worst_value_error = max(tally.worst_value_error, error.max().item() if len(error) else 0.0)


ALGORITHMS = ("puct", "gumbel")


def check_network(context: Context, algorithm: str) -> dict[str, Any]:
    """The agent as the roles use it, on both devices."""
    batch, actions, simulations = context.size((64, 18, 50), (3, 3, 4))
    config = atari_config(simulations=simulations, is_tiny=context.is_rehearsal, gpus=0, algorithm=algorithm)
    on_device = replace(config, search=replace(config.search, backend="triton"))
    weights = random_weights(config, actions, seed=1, head_scale=0.1)
    frames = random_frames(config, batch, seed=2)
    noises = [(dirichlet if algorithm == "puct" else gumbel)(seed, batch, actions) for seed in (5, 6)]

    plain = Agent(config, frame_spec(config), actions)
    plain.load(weights, version=0)
    want, other = (plain.search(frames, noise=noise) for noise in noises)
    agent = Agent(on_device, frame_spec(config), actions, device=str(context.device))
    if not context.is_rehearsal:
        agent.load(torch.zeros_like(weights), version=0)  # captured searches then use the weights loaded next
        for _ in range(CALLS_TO_REPLAY - 1):
            agent.search(frames, noise=noises[1])
    agent.load(weights, version=1)
    got = agent.search(frames, noise=noises[0])
    distance = distances(got, want)
    control = distances(other, want).mean().item()
    found = {
        "mean_distance": distance.mean().item(),
        "largest_distance": distance.max().item(),
        "distance_by_other_noise": control,
        "same_action": (got.action.cpu() == want.action).float().mean().item(),
        "mean_value_error": (got.value.cpu() - want.value).abs().mean().item(),
    }
    bound = min(NETWORK_DISTANCE, control / 3)
    is_close = found["mean_distance"] <= bound
    wrong = f"network, {algorithm}: visits are {found['mean_distance']:.4f} apart on average > {bound:.4f}"
    return {**found, "failures": [] if is_close else [wrong]}


def distances(a: SearchResult, b: SearchResult) -> torch.Tensor:
    """Total variation between two searches' visit fractions, [B]."""
    return 0.5 * (a.visits.cpu() - b.visits.cpu()).abs().sum(-1) / b.visits.cpu().sum(-1)
