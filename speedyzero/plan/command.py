"""`python -m speedyzero plan`: predicts a run's speed, time and memory, and compares predictions with finished runs.

costs (measured here, estimated for a GPU by name, or entered) -> pace of each resource -> rates, time, memory
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path

from speedyzero.config import Config
from speedyzero.config.documents import load_config
from speedyzero.env.registry import GameInfo, check_game
from speedyzero.observe.metrics import read_metrics
from speedyzero.observe.progress import format_duration
from speedyzero.plan.arguments import Planned
from speedyzero.plan.chips import CHIPS
from speedyzero.plan.costs import Costs, estimated
from speedyzero.plan.measure import measured
from speedyzero.plan.model import Prediction, predict
from speedyzero.runtime.wiring import wire
from speedyzero.shm import Run
from speedyzero.supervisor.space import least_gpu_memory, shared_need


def plan(planned: Planned) -> None:
    """Print the prediction, and the prediction error for finished runs of this machine."""
    config = planned.config
    game = check_game(config.env)
    costs = (estimated(config, game, planned.gpu) if planned.gpu else measured(config)).with_entered(planned.entered)
    prediction = predict(config, costs, cores=planned.cores)
    print(f"{game.name} by {config.preset}, {config.gpus} {planned.gpu or 'GPUs'}, {planned.cores} cores")
    _print_costs(costs)
    _print_pace(config, prediction)
    _print_memory(config, game, planned.gpu)
    for run_dir in planned.checked:
        compare(run_dir, cores=planned.cores)


def compare(run_dir: Path, *, cores: int) -> None:
    """Print predicted and actual speed of a run made on this machine's CPU, using costs measured now."""
    config = load_config(run_dir / "config.yaml")
    found = actual_rate(run_dir)
    predicted = 1.0 / predict(config, measured(config), cores=cores).typical.train_step_s
    print(
        f"checked      {run_dir}: {predicted:.3g} train steps/s predicted, {found:.3g} measured: "
        f"{100 * (predicted / found - 1):+.0f}%"
    )


def actual_rate(run_dir: Path) -> float:
    """Train steps per second in the middle three fifths of a run's metrics. Raises ValueError if there are too few."""
    series = read_metrics(run_dir).get("learner/loss")
    if series is None or len(series.steps) < 10:
        raise ValueError(f"{run_dir}: fewer than 10 records of train steps: nothing to compare with")
    begin, end = len(series.steps) // 5, 4 * len(series.steps) // 5
    seconds = float(series.times_s[end] - series.times_s[begin])
    return float(series.steps[end] - series.steps[begin]) / seconds


def _print_costs(costs: Costs) -> None:
    each = ", ".join(
        f"{field.name.removesuffix('_s')} {1e6 * getattr(costs, field.name):.4g}"
        for field in fields(costs)
        if field.name != "source"
    )
    print(f"costs        {each} microseconds each\n             ({costs.source})")


def _print_pace(config: Config, prediction: Prediction) -> None:
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
        print(f"             {name:14} busy {100 * seconds / pace.train_step_s:5.1f}%  {1e3 * seconds:9.2f} ms a step")
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
    """Merge GPUs with equal figures into a single entry."""
    named: dict[str, float] = {}
    for name, figure in figures.items():
        alike = [other for other, value in figures.items() if other.startswith("cuda:") and value == figure]
        is_first = alike and name == alike[0]
        if name not in alike or len(alike) == 1:
            named[name] = figure
        elif is_first:
            named[f"{len(alike)} GPUs each"] = figure
    return named
