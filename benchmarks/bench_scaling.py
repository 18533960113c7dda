"""What gives first with more GPUs and larger batches, by the capacity model (speedyzero/plan): no measurement.

GPUs: the `atari100k` preset on 1 to 32 of one kind. Batches: 256 to 16,384 on 8 of them, train steps fewer in
proportion, so that as many samples are trained on. Read in docs/design/scaling.md.

    make bench NAME=scaling                       # seconds; picture in docs/figures/scaling.png
    make bench NAME=scaling ARGS="--gpu A100 --cost search_s=1e-5"
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.common import write_result
from speedyzero.arguments.resolve import resolve
from speedyzero.config import Config
from speedyzero.config.documents import override
from speedyzero.config.settings import Given
from speedyzero.env.registry import check_game
from speedyzero.plan.arguments import CORES_PER_GPU, read_costs
from speedyzero.plan.costs import estimated
from speedyzero.plan.model import Prediction, predict

GPUS, BATCHES, BATCH_GPUS = (1, 2, 4, 8, 16, 32), (256, 512, 1024, 2048, 4096, 8192, 16384), 8
MOST_LANES = 192


@dataclass(frozen=True)
class Point:
    gpus: int
    batch_size: int
    minutes: float
    speedup: float  # over the first of the series
    learner_share: float  # of a GPU's time
    reanalyzer_share: float
    actor_share: float
    collective_share: float
    cores_share: float  # of the machine's
    env_steps_per_update: float
    lag_env_steps: float  # of the target network, at most, in env steps played since
    act_tick_ms: float  # one tick of an actor: its search and its environments
    env_steps_per_s_needed: float  # of one actor


def point(config: Config, gpu: str, entered: Mapping[str, float], first: float | None) -> Point:
    costs = estimated(config, check_game(config.env), gpu).with_entered(entered)
    cores = CORES_PER_GPU * config.gpus
    found = predict(config, costs, cores=cores)
    pace, work = found.typical, found.workload
    step_s = pace.train_step_s
    sync_s = costs.sync_s if config.gpus > 1 else 0.0
    envs = config.actor.envs
    return Point(
        gpus=config.gpus,
        batch_size=config.learner.batch_size,
        minutes=found.total_s / 60,
        speedup=1.0 if first is None else first / (found.total_s / 60),
        learner_share=(pace.busy_s["a learner"] - sync_s) / step_s,
        reanalyzer_share=_device_share(found, "a reanalyzer", costs.host_batch_s / config.gpus),
        actor_share=_device_share(found, "an actor", work.env_steps * costs.host_env_step_s / config.gpus),
        collective_share=sync_s / step_s,
        cores_share=pace.busy_s[f"{cores} cores"] / step_s,
        env_steps_per_update=work.env_steps,
        lag_env_steps=(2 * config.target_interval - 1) * work.env_steps,
        act_tick_ms=1e3 * (max(costs.search_call_s, envs * costs.search_s) + envs * costs.host_env_step_s),
        env_steps_per_s_needed=work.env_steps / step_s / config.gpus,
    )


def _device_share(found: Prediction, role: str, host_s: float) -> float:
    return (found.typical.busy_s[role] - host_s) / found.typical.train_step_s


def series(gpu: str, entered: Mapping[str, float]) -> tuple[list[Point], list[Point]]:
    """By GPUs, and by batch."""
    base = resolve("atari100k", "Pong", 0, 0, None, [])
    by_gpus: list[Point] = []
    for gpus in GPUS:
        # More lanes than this and the head start has no position to sample: fewer environments an actor.
        envs = min(base.actor.envs, MOST_LANES // gpus)
        config = override(base, {"gpus": Given(gpus, "--gpus"), "actor.envs": Given(envs, "the series")})
        by_gpus.append(point(config, gpu, entered, by_gpus[0].minutes if by_gpus else None))
    by_batch: list[Point] = []
    for batch in BATCHES:
        scale = 2048 / batch
        schedule = base.schedule
        given = {
            "gpus": BATCH_GPUS,
            "learner.batch_size": batch,
            "schedule.train_steps": round(schedule.train_steps * scale),
            "schedule.frozen_train_steps": round(schedule.frozen_train_steps * scale),
        }
        config = override(base, {name: Given(value, "the series") for name, value in given.items()})
        by_batch.append(point(config, gpu, entered, by_batch[0].minutes if by_batch else None))
    return by_gpus, by_batch


def draw(by_gpus: list[Point], by_batch: list[Point], path: Path, gpu: str) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 7), layout="constrained")
    panels = figure.subplots(2, 2)
    axes = panels[0][0]
    axes.plot([p.gpus for p in by_gpus], [p.minutes for p in by_gpus], marker="o", label="predicted")
    axes.plot(GPUS, [by_gpus[0].minutes / n for n in GPUS], linestyle=":", color="black", label="linear")
    axes.set(title=f"atari100k on {gpu}s: minutes a run (model)", xlabel="GPUs", xscale="log", yscale="log")
    axes.legend()
    shares = {
        "learner": "learner_share",
        "reanalyzer": "reanalyzer_share",
        "actor": "actor_share",
        "collective": "collective_share",
    }
    for axes, points, x, label in (
        (panels[0][1], by_gpus, [p.gpus for p in by_gpus], "GPUs"),
        (panels[1][0], by_batch, [p.batch_size for p in by_batch], f"batch, on {BATCH_GPUS} GPUs"),
    ):
        bottom = [0.0] * len(points)
        for name, field in shares.items():
            values = [100 * getattr(p, field) for p in points]
            axes.bar(range(len(x)), values, bottom=bottom, label=name)
            bottom = [b + v for b, v in zip(bottom, values, strict=True)]
        axes.set_xticks(range(len(x)), [str(one) for one in x])
        axes.set(title="share of a GPU's time (model)", xlabel=label, ylabel="%")
        axes.legend(fontsize="small", loc="lower left")
    axes = panels[1][1]
    axes.plot(BATCHES, [p.env_steps_per_update for p in by_batch], marker="o", label="env steps an update")
    axes.plot(BATCHES, [p.lag_env_steps / 1000 for p in by_batch], marker="o", label="oldest target, 1,000 env steps")
    axes.axhline(100, color="black", linestyle=":", label="the whole run's play")
    axes.set(title="what an update is made of (arithmetic)", xlabel="batch", xscale="log", yscale="log")
    axes.set_xticks(BATCHES, [str(batch) for batch in BATCHES], fontsize="small")
    axes.minorticks_off()
    axes.legend(fontsize="small")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=80)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gpu", default="H100")
    parser.add_argument("--cost", nargs="+", default=[], metavar="NAME=SECONDS")
    parser.add_argument("--figure", type=Path, default=Path("docs/figures/scaling.png"))
    arguments = parser.parse_args()
    by_gpus, by_batch = series(arguments.gpu, read_costs(arguments.cost))
    columns = "gpus batch_size minutes speedup learner% reanalyzer% actor% collective% cores% env/update lag tick_ms"
    for points in (by_gpus, by_batch):
        print("| " + " | ".join(columns.split()) + " |\n|" + "---|" * len(columns.split()))
        for p in points:
            shares = (p.learner_share, p.reanalyzer_share, p.actor_share, p.collective_share, p.cores_share)
            figures = [f"{p.minutes:.1f}", f"{p.speedup:.1f}", *(f"{100 * share:.1f}" for share in shares)]
            figures += [f"{p.env_steps_per_update:.2f}", f"{p.lag_env_steps:,.0f}", f"{p.act_tick_ms:.1f}"]
            print(f"| {p.gpus} | {p.batch_size} | {' | '.join(figures)} |")
        print()
    draw(by_gpus, by_batch, arguments.figure, arguments.gpu)
    results = {"gpu": arguments.gpu, "by_gpus": [asdict(p) for p in by_gpus], "by_batch": [asdict(p) for p in by_batch]}
    print("written to", write_result("bench_scaling", results, packages=("torch",)))


if __name__ == "__main__":
    main()
