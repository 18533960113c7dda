"""Searches a second by the agent, root inference included, in each way of launching them; and where the time goes.

Inputs change from call to call. The parts are timed alone (`search_stages.py`), so their shares of the search in one
graph need not add up to one: `rest_share` is what is left over. Budgets: 60,000, then 100,000 searches a second at 2048
and 4096 roots with 50 simulations, tree kernels under 15%.
"""

import gc
from dataclasses import asdict, dataclass, replace
from functools import lru_cache, partial
from typing import Any

import torch

from benchmarks.gpu.context import Context
from benchmarks.gpu.networks import atari_config, frame_spec, random_frames, random_weights
from benchmarks.gpu.search_check import LAUNCHES
from benchmarks.gpu.search_stages import stages_of
from benchmarks.gpu.timing import Subject, Times, time_turns
from speedyzero.config import Config
from speedyzero.model.agent import Agent
from speedyzero.model.observation import to_network_input
from speedyzero.search import Searcher

SETS = 2  # of observations and noise; one root's latents of 2048 roots are already larger than the cache
DISTINCT_FRAMES = 64  # which rows of a batch repeat in another order each time


@dataclass(frozen=True)
class Size:
    batch: int
    actions: int
    algorithm: str
    simulations: int

    @property
    def name(self) -> str:
        suffix = "" if self.algorithm == "puct" else f" {self.algorithm}"
        return f"B={self.batch} A={self.actions}{suffix}"


def run(context: Context) -> dict[str, Any]:
    sizes = [Size(batch, 18, "puct", 50) for batch in (2048, 4096, 1024, 16, 256)]
    sizes += [Size(2048, 18, "gumbel", 16), *(Size(batch, 6, "puct", 50) for batch in (2048, 4096, 1024, 256, 16))]
    sizes += [Size(batch, actions, "gumbel", 16) for actions in (18, 6) for batch in (4096, 16)]
    if context.is_rehearsal:
        sizes = [Size(2, 2, "puct", 2), Size(1, 2, "gumbel", 1)]
    batches: dict[str, Any] = {}
    shares: dict[str, Any] = {}

    def case(size: Size) -> None:
        batches[size.name], shares[size.name] = measure(context, size)
        context.keep(batches=batches, shares=shares)
        gc.collect()  # graphs and the searches that they are of hold one another, gigabytes at these sizes
        if context.device.type == "cuda":
            torch.cuda.empty_cache()

    context.all_in_time({size.name: partial(case, size) for size in sizes})
    if batches:
        size, modes = next(iter(batches.items()))
        best = max(modes, key=lambda mode: modes[mode]["searches_per_s"])
        context.keep(seen=f"{size}: {modes[best]['searches_per_s']:,.0f} searches/s, {best}")
    return context.results


def measure(context: Context, size: Size) -> tuple[dict[str, Any], dict[str, Any]]:
    """Each mode's searches a second, and the parts' times and shares."""
    device = context.device
    config = atari_config(
        simulations=size.simulations, is_tiny=context.is_rehearsal, gpus=0, algorithm=size.algorithm, backend="triton"
    )
    sizes = frame_spec(config), size.actions
    agent = Agent(config, *sizes, device=str(device))
    agent.load(weights_of(size.actions, context.is_rehearsal), version=0)
    inputs = [observations(config, size.batch, agent, seed=seed) for seed in range(SETS)]
    noises = [noise_of(size, device, seed=seed) for seed in range(SETS)]

    def search_subject(searcher: Searcher) -> Subject:
        def subject(number: int) -> None:
            root = agent.root_from(inputs[number % SETS])
            searcher.search(root, config.search, noises[number % SETS])

        return subject

    searchers = {mode: Searcher(agent.step_model, launch=launch) for mode, launch in LAUNCHES.items()}
    subjects: dict[str, Subject] = {mode: search_subject(searcher) for mode, searcher in searchers.items()}
    plain = Agent(replace(config, search=replace(config.search, fused_root=False)), *sizes, device=str(device))
    plain.load(weights_of(size.actions, context.is_rehearsal), version=0)
    subjects["root"] = lambda number: agent.root_from(inputs[number % SETS])
    subjects["plain root"] = lambda number: plain.root_from(inputs[number % SETS])
    subjects |= stages_of(agent.step_model, agent.root_from(inputs[0]), config.search, noises[0])
    times = time_turns(subjects, device, seconds=min(context.left_s / 4, context.size(3.0, 0.1)))
    modes = {mode: {"searches_per_s": times[mode].per_s(size.batch), "times": times[mode]} for mode in LAUNCHES}
    shares = shares_of(times)
    rates = "  ".join(f"{mode} {found['searches_per_s']:,.0f}/s" for mode, found in modes.items())
    parts = "  ".join(f"{name.removesuffix('_share')} {shares[name]:.1%}" for name in shares if name.endswith("_share"))
    saved = 1.0 - times["root"].median_ms / times["plain root"].median_ms
    print(f"{size.name:22} {rates};  of the whole graph: {parts};  fused root saves {saved:.1%} of root inference")
    return modes, shares


def shares_of(times: dict[str, Times]) -> dict[str, Any]:
    """Of the time of a search in one graph, its root inference included. The network's steps are without the gather."""
    whole_ms = times["whole graph"].median_ms
    parts_ms = {name: times[name].median_ms for name in ("root", "tree", "gather")}
    parts_ms["network"] = times["network"].median_ms - parts_ms["gather"]
    shares: dict[str, Any] = {f"{name}_share": part_ms / whole_ms for name, part_ms in parts_ms.items()}
    shares["rest_share"] = 1.0 - sum(shares.values())
    return {
        **shares,
        "alone": {name: asdict(times[name]) for name in ("root", "plain root", "tree", "network", "gather")},
    }


@lru_cache(maxsize=2)
def weights_of(actions: int, is_tiny: bool) -> torch.Tensor:
    """[P] float32; a search's settings change nothing in them."""
    config = atari_config(simulations=1, is_tiny=is_tiny, gpus=0)
    return random_weights(config, actions, seed=1, head_scale=0.1)


def observations(config: Config, batch: int, agent: Agent, *, seed: int) -> torch.Tensor:
    """Network inputs on the device, [B, S*C, H, W], as the gather from a mirrored shard makes them."""
    distinct = torch.from_numpy(random_frames(config, min(batch, DISTINCT_FRAMES), seed=seed)).to(agent.device)
    rows = torch.randint(len(distinct), (batch,), device=agent.device)
    few = to_network_input(distinct).to(agent.input_dtype, memory_format=torch.channels_last)
    return few[rows].contiguous(memory_format=torch.channels_last)


def noise_of(size: Size, device: torch.device, *, seed: int) -> torch.Tensor:
    """[B, A] float32."""
    generator = torch.Generator().manual_seed(seed)
    uniform = torch.rand(size.batch, size.actions, generator=generator).clamp_min(1e-6)
    gumbel = -torch.log(-torch.log(uniform.clamp_max(1.0 - 1e-6)))
    noise = gumbel if size.algorithm == "gumbel" else torch.softmax(3.0 * gumbel, dim=1)  # as peaked as Dirichlet(0.3)
    return noise.to(device)
