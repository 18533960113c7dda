"""`python -m speedyzero plan`: predicts a run's speed, time and memory.

costs (measured here, estimated for a GPU by name, or entered) -> pace of each resource -> rates, time, memory
"""

import math
from collections.abc import Mapping
from dataclasses import fields, replace

from speedyzero.config import Config
from speedyzero.env.registry import GameInfo, check_game
from speedyzero.observe.progress import format_duration
from speedyzero.plan.chips import CHIPS
from speedyzero.plan.costs import Costs, estimated, nodes_s
from speedyzero.plan.measure import measured
from speedyzero.plan.model import Prediction, predict
from speedyzero.runtime.wiring import wire
from speedyzero.shm import Run
from speedyzero.supervisor.space import least_gpu_memory, shared_need


def plan(
    config: Config, gpu: str, entered: Mapping[str, float], *, cores: int, nodes: int = 1, gbit_per_s: float = 0.0
) -> None:
    """Print the prediction. config: of each of the nodes. gpu: a name of CHIPS; empty: this machine's CPU. entered:
    costs given by the user. gbit_per_s: between nodes.
    """
    game = check_game(config.env)
    costs = estimated(config, game, gpu) if gpu else measured(config)
    if nodes > 1:
        all_reduce_s = nodes_s(config, game, nodes=nodes, gbit_per_s=gbit_per_s)
        source = f"{costs.source}; nodes: an all-reduce in a ring at {gbit_per_s:g} Gbit/s, never measured"
        costs = replace(costs, nodes_s=all_reduce_s, source=source)
    costs = costs.with_entered(entered)
    prediction = predict(config, costs, cores=cores)
    print(f"{game.name} by {config.preset}, {config.gpus} {gpu or 'GPUs'}, {cores} cores")
    if nodes > 1:
        print(f"each node    of {nodes}; all figures are of one, which plays and trains on 1/{nodes} of the run")
    _print_costs(costs)
    _print_pace(prediction)
    _print_memory(config, game, gpu)


def _print_costs(costs: Costs) -> None:
    each = ", ".join(
        f"{field.name.removesuffix('_s')} {1e6 * getattr(costs, field.name):.4g}"
        for field in fields(costs)
        if field.name != "source"
    )
    print(f"costs        {each} microseconds each\n             ({costs.source})")


def _print_pace(prediction: Prediction) -> None:
    pace, work = prediction.typical, prediction.workload
    rate = 1.0 / pace.train_step_s
    print(
        f"train step   {work.samples:.0f} samples, {work.searches:.0f} searches, {work.values:.0f} values, "
        f"{work.refreshes:.0f} refreshed, {work.env_steps:.2f} env steps"
    )
    print(
        f"rates        {rate:.3g} train steps/s, {rate * work.samples:,.0f} samples/s, "
        f"{rate * work.searches:,.0f} searches/s, {rate * work.env_steps:,.1f} env steps/s"
    )
    for name, seconds in sorted(_alike_as_one(pace.busy_s).items(), key=lambda item: -item[1]):
        print(f"             {name:16} busy {100 * seconds / pace.train_step_s:5.1f}%  {1e3 * seconds:9.2f} ms a step")
    limits = ", ".join(f"{name} {100 * share:.0f}%" for name, share in prediction.limits.items())
    print(f"bottleneck   {pace.bottleneck} (of the paced time: {limits})")
    print(
        f"time         {format_duration(prediction.total_s)}: head start {format_duration(prediction.head_start_s)}, "
        f"paced {format_duration(prediction.paced_s)}, frozen {format_duration(prediction.frozen_s)}; "
        "start-up and evaluations come on top"
    )


def _print_memory(config: Config, game: GameInfo, gpu: str) -> None:
    wiring = wire(config, Run.new(config.shm_dir or None), game.spec, game.num_actions)
    need = shared_need(wiring)
    shared_gib = (need.segments + need.always_in_shm) / 2**30
    print(f"memory       {shared_gib:.2f} GiB shared between {len(wiring.processes) + 1} processes")
    _, size = wiring.shard_shape.fields()["frame"]
    mirror_gib = math.prod(size) / 2**30
    on_gpus = {f"cuda:{index}": least / 2**30 for index, least in least_gpu_memory(config, wiring, game).items()}
    for name, least_gib in _alike_as_one(on_gpus).items():
        of = f" of {CHIPS[gpu].memory_bytes / 2**30:.0f}" if gpu else ""
        print(f"             {name}: {least_gib:.2f} GiB{of} at least, {mirror_gib:.2f} for a shard's mirror")


def _alike_as_one(figures: Mapping[str, float]) -> dict[str, float]:
    """GPUs with equal figures as a single entry, "4 GPUs as cuda:0"."""
    named: dict[str, float] = {}
    for name, figure in figures.items():
        alike = [other for other, value in figures.items() if other.startswith("cuda:") and value == figure]
        named[f"{len(alike)} GPUs as {alike[0]}" if name in alike and len(alike) > 1 else name] = figure
    return named
