"""What the techniques act on: trust ratios with and without the clip, and how stale priorities are.

`trust_ratios` reads the runs that the optimisers' comparison left. `priorities` makes runs of its own and looks into
them: it judges every position that was drawn before by the newest weights, without writing anything down, and compares.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.common import write_result
from benchmarks.techniques.comparison import FIGURES, REFRESH_OFF, RUNS, SCENES, best_arms
from speedyzero.arguments.resolve import resolve
from speedyzero.experiments.ablate.plan import BASE
from speedyzero.experiments.grid.interval import mean_and_interval
from speedyzero.experiments.grid.run import run_name
from speedyzero.model.agent import Agent
from speedyzero.model.flat import flatten
from speedyzero.observe.metrics import read_metrics
from speedyzero.reanalyze.refresh import rank_correlation
from speedyzero.replay.frames import HostFrames
from speedyzero.replay.sampler import MIN_PRIORITY
from speedyzero.supervisor.inline import InlineRun, build_run

LOOKS = 15
CLIP = 10.0


def trust_ratios(scene: str, *, rate: str | None, seeds: Iterable[int]) -> None:
    """LARS beside Clipped LARS: a picture, and what is kept of every run. rate: of both; None: each one's best."""
    optimizers = ("lars", "clipped_lars")
    arms = best_arms(scene, optimizers) if rate is None else [f"{optimizer} {rate}" for optimizer in optimizers]
    figure = Figure(figsize=(11, 4), layout="constrained")
    panels = figure.subplots(1, 2)
    results = {}
    for arm, colour in zip(arms, ("C1", "C0"), strict=True):
        runs = [read_metrics(RUNS / scene / "runs" / run_name(arm, seed)) for seed in seeds]
        for axes, name in zip(panels, ("largest_unclipped", "median"), strict=True):
            series = [run[f"learner/trust_ratio_{name}"] for run in runs]
            _band(axes, series[0].steps, np.stack([one.values for one in series]), label=arm, colour=colour)
        largest = np.stack([run["learner/trust_ratio_largest_unclipped"].values for run in runs])
        parts = {name.rpartition("/")[2] for name in runs[0] if name.startswith("learner/trust_ratio_unclipped/")}
        results[arm] = {
            "largest_unclipped": largest.max(axis=1).tolist(),
            "records_above_clip": (largest > CLIP).mean(axis=1).tolist(),
            "largest_by_part": {
                part: [float(run[f"learner/trust_ratio_unclipped/{part}"].values.max()) for run in runs]
                for part in sorted(parts)
            },
        }
    panels[0].axhline(CLIP, color="black", linestyle=":", label="the clip")
    panels[0].set(title=f"{scene}: largest trust ratio before the clip", yscale="log")
    panels[1].set(title="median trust ratio as used", yscale="log")
    _finish(figure, panels, f"trust-ratios-{scene}.png")
    _report({"scene": scene, "trust_ratios": results})


@dataclass(frozen=True)
class Look:
    """At all positions that were drawn before, at one moment. Ages in train steps."""

    train_step: int
    age_median: float
    age_max: float
    rank_correlation: float  # of the priorities that stand there and those that the newest weights would give


def priorities(scene: str, *, seeds: Iterable[int]) -> None:
    """Age and order of priorities with Priority Refresh and without, at the base's other settings."""
    figure = Figure(figsize=(11, 4), layout="constrained")
    panels = figure.subplots(1, 2)
    results, rows = {}, []
    for arm, settings, colour in ((BASE, (), "C0"), (REFRESH_OFF.name, REFRESH_OFF.settings, "C1")):
        runs = [_looks(scene, seed, settings) for seed in seeds]
        steps = np.array([look.train_step for look in runs[0]])
        for axes, name in zip(panels, ("age_median", "rank_correlation"), strict=True):
            _band(axes, steps, _grid(runs, name), label=arm, colour=colour)
        means = {name: _grid(runs, name).mean(axis=1) for name in ("age_median", "age_max", "rank_correlation")}
        rows.append(f"| {scene} | {arm} | {' | '.join(mean_and_interval(one) for one in means.values())} |")
        results[arm] = {"steps": steps.tolist(), **{name: _grid(runs, name).tolist() for name in means}}
    panels[0].set(title=f"{scene}: median age of priorities, train steps")
    panels[1].set(title="rank correlation with fresh priorities")
    _finish(figure, panels, f"priorities-{scene}.png")
    print("| scene | arm | median age | largest age | rank correlation |\n|---|---|---|---|---|")
    print("\n".join(rows))
    _report({"scene": scene, "priorities": results})


def _looks(scene: str, seed: int, settings: Iterable[str]) -> list[Look]:
    words = ["cpu_threads=1", *SCENES[scene].settings, *settings]
    run = build_run(resolve(None, SCENES[scene].game, seed, 0, None, words))
    agent = Agent(run.config, run.game.spec, run.game.num_actions, device="cpu")
    interval = run.config.schedule.total_train_steps // LOOKS
    looks: list[Look] = []
    while not run.done:
        run.turn()
        for _ in run.edges.metrics.drain():
            pass
        train_step = run.edges.board.train_steps
        if train_step // interval > len(looks):
            looks.append(_look(run, agent, train_step))
    run.env.close()
    return looks


def _look(run: InlineRun, agent: Agent, train_step: int) -> Look:
    reanalyzer = run.reanalyzer
    lane, step, version = reanalyzer.sampler.drawn_positions()
    agent.load(flatten(run.learner.network), version=train_step)
    value = agent.root_from(HostFrames(reanalyzer.shard, agent.device).stacks(lane, step)).value.cpu().numpy()
    fresh = np.abs(value - reanalyzer._targets.root_values(lane, step, train_step=train_step)) + MIN_PRIORITY
    stored = reanalyzer.shard.priority[lane, step % reanalyzer.shard.rows]
    age = train_step - version
    return Look(train_step, float(np.median(age)), float(age.max()), rank_correlation(stored, fresh))


def _grid(runs: list[list[Look]], name: str) -> np.ndarray:
    return np.array([[getattr(look, name) for look in looks] for looks in runs])


def _band(axes: Axes, steps: np.ndarray, values: np.ndarray, *, label: str, colour: str) -> None:
    """The median run, and from the least to the most of all. values: [runs, steps]."""
    axes.plot(steps, np.median(values, axis=0), color=colour, label=f"{label} ({len(values)} seeds)")
    axes.fill_between(steps, values.min(axis=0), values.max(axis=0), color=colour, alpha=0.2, linewidth=0)


def _finish(figure: Figure, panels: Iterable[Axes], name: str) -> None:
    for axes in panels:
        axes.set_xlabel("train steps")
        axes.grid(alpha=0.3)
        axes.legend(fontsize="small")
    FIGURES.mkdir(parents=True, exist_ok=True)
    figure.savefig(FIGURES / name, dpi=80)


def _report(results: dict[str, object]) -> None:
    print(f"raw in {write_result('bench_techniques', results, packages=('torch', 'numba', 'numpy'))}")
