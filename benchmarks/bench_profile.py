"""Profiling a run of Pong as processes: what it costs, whether it names the bottleneck, what it leaves unaccounted.

    a  profiled and not, by turns: train steps a second and processor seconds a train step, of the paced part
    b  each role slowed, by sleep and by real load: the bottleneck that `speedyzero profile` names; exit 1 where it errs
    c  the unaccounted share of every process, in all of those profiles
    d  one span, in ns of processor time: with a recorder, and without one

Rates are by the runs' own metrics, from the first recorded train step to the last. Processor seconds are all
processes', the supervisor's too, after learning has begun: what other programs change least, and still by
more than is looked for where they share caches and cores. So the cost is also added up from below: spans by what one
costs, and what the supervisor's own spans say of its collecting.

    make bench NAME=profile
    make bench NAME=profile ARGS="--parts a --repeats 5"
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.bench_process_mode import ROOT, rates
from benchmarks.common import write_result
from benchmarks.slowed_run import KINDS, ROLES
from speedyzero.observe.metrics import MetricSeries, read_metrics
from speedyzero.profile.command import load, report
from speedyzero.profile.diagnosis import Diagnosis
from speedyzero.profile.span_table import span_rows
from speedyzero.tracing.spans import Recorder, Span, activate
from speedyzero.tracing.trace import Trace

HEAD_START = 400
TINY = (
    f"--game Pong --preset laptop --gpus 0 schedule.head_start_env_steps={HEAD_START} evaluate.video=false "
    "evaluate.episodes=1 evaluate.parallel_envs=1 env.eval_limit_frames=400 checkpoint.keep_last=0 "
    "supervisor.record_interval_s=2 learner.batch_size=16 search.num_simulations=8"
).split()
MOST_UNACCOUNTED = 0.02
SLOWDOWN = 2.0  # cycles by which a role is slowed in each; a cycle is a tick of play and the train steps that it is for
SLOWED_CYCLES = 4


@dataclass(frozen=True)
class Run:
    train_steps_per_s: float
    cpu_s_per_train_step: float
    paced_s: float


@dataclass(frozen=True)
class Named:
    """What a profile said of one slowed run. unaccounted: the largest share of any process."""

    slowed: str
    kind: str
    pause_s: float
    bottleneck: str
    path: dict[str, float]
    busy: dict[str, float]
    unaccounted: float
    cores_used: float
    profile_s: float

    @property
    def right(self) -> bool:
        return self.bottleneck.partition("-")[0] == self.slowed


def schedule(train_steps: int) -> list[str]:
    """2.4 env steps a train step after the head start: what the recorded figures are of."""
    return [f"schedule.train_steps={train_steps}", f"schedule.env_steps={HEAD_START + round(2.4 * train_steps)}"]


def carry_out(run_dir: Path, slow: tuple[str, str, float], *words: str) -> Run:
    """One run. Raises RuntimeError where it fails or leaves something behind."""
    command = [sys.executable, "-m", "benchmarks.slowed_run", *map(str, slow), *TINY, "--run-dir", str(run_dir), *words]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    output, _ = process.communicate()
    left = [path.name for path in Path("/dev/shm").iterdir() if f".{process.pid}-" in path.name]
    if process.returncode or left:
        raise RuntimeError(f"exit code {process.returncode}, left in /dev/shm: {left}\n{output.decode()}")
    metrics = read_metrics(run_dir)
    found = rates(metrics)
    return Run(found.train_steps_per_s, cpu_s_per_train_step(metrics), found.paced_s)


def cpu_s_per_train_step(metrics: dict[str, MetricSeries]) -> float:
    """Of all processes, between the first record after learning had begun and the last."""
    used_s, steps = 0.0, 0
    for name, series in metrics.items():
        if name.startswith("time/") and name.endswith("_cpu_s"):
            learning = np.nonzero(series.steps > 0)[0]
            used_s += float(series.values[-1] - series.values[learning[0]])
            steps = int(series.steps[-1] - series.steps[learning[0]])
    return used_s / steps if steps else float("nan")  # a run that ends between two records


def measure_overhead(scratch: Path, *, repeats: int, train_steps: int) -> dict[str, list[Run]]:
    """Runs without and with a profile of all of it, by turns, the first turn alternating."""
    found: dict[str, list[Run]] = {"plain": [], "profiled": []}
    for index in range(repeats):
        for name in ("plain", "profiled") if index % 2 == 0 else ("profiled", "plain"):
            flags = ["--profile"] if name == "profiled" else []
            run = carry_out(scratch / f"{name}-{index}", ("-", "none", 0.0), *schedule(train_steps), *flags)
            found[name].append(run)
            print(
                f"{name:9} {run.train_steps_per_s:>7.2f} train steps/s  {run.cpu_s_per_train_step:.4f} cpu s a step "
                f"({run.paced_s:.0f} s)",
                flush=True,
            )
    return found


def overhead(runs: dict[str, list[Run]], field: str) -> dict[str, float]:
    """Of profiling, in percent: the median over the pairs of turns, and their extremes."""
    pairs = zip(runs["plain"], runs["profiled"], strict=True)
    ratios = [getattr(profiled, field) / getattr(plain, field) for plain, profiled in pairs]
    percent = [100 * (ratio - 1 if field.startswith("cpu") else 1 / ratio - 1) for ratio in ratios]
    return {"median": statistics.median(percent), "min": min(percent), "max": max(percent)}


def name_bottlenecks(scratch: Path, *, train_steps: int, window_s: float) -> list[Named]:
    """A profile without a slowdown tells how long a cycle is; then each role is slowed by several cycles."""
    trace, diagnosis = _profiled(scratch / "unslowed", ("-", "none", 0.0), train_steps, window_s)
    print(report(trace, diagnosis, scratch / "unslowed"), flush=True)
    steps = [value for name, value in trace.samples["train_steps"]]
    step_s = diagnosis.window.seconds / max(1.0, steps[-1] - steps[0])
    cycle_steps = trace.settings["actor.envs"] / 2.4
    found = [_named(trace, diagnosis, "", "none", 0.0)]
    for role in ROLES:
        for kind in KINDS[1:]:
            pause_s = SLOWDOWN * step_s * (cycle_steps if role == "actor" else 1.0)
            slowed_steps = round(SLOWED_CYCLES * cycle_steps) + 1
            trace, diagnosis = _profiled(scratch / f"{role}-{kind}", (role, kind, pause_s), slowed_steps, window_s)
            found.append(_named(trace, diagnosis, role, kind, pause_s))
            one = found[-1]
            shares = ", ".join(f"{name} {share:.0%}" for name, share in one.path.items())
            print(
                f"{role} slowed by {kind}, {pause_s:.2f} s a step: {one.bottleneck} {'' if one.right else 'WRONG '}"
                f"(path: {shares}; unaccounted at most {one.unaccounted:.2%})",
                flush=True,
            )
    return found


def _profiled(
    run_dir: Path, slow: tuple[str, str, float], train_steps: int, window_s: float
) -> tuple[Trace, Diagnosis]:
    carry_out(run_dir, slow, *schedule(train_steps), "--profile", str(window_s))
    return load(run_dir)


def _named(trace: Trace, diagnosis: Diagnosis, slowed: str, kind: str, pause_s: float) -> Named:
    shares = diagnosis.shares
    return Named(
        slowed=slowed,
        kind=kind,
        pause_s=pause_s,
        bottleneck=diagnosis.bottleneck,
        path={name: diagnosis.path.share(name) for name in diagnosis.path.seconds},
        busy={name: one.busy for name, one in shares.items()},
        unaccounted=max(abs(one.share(one.unaccounted_s)) for one in shares.values()),
        cores_used=diagnosis.cores_used,
        profile_s=diagnosis.window.seconds,
    )


def span_cost_ns(recorder: Recorder | None, calls: int = 200_000) -> float:
    """Processor time of one span around nothing, the loop's own left out."""

    def spent_ns(body) -> int:
        started_ns = time.thread_time_ns()
        for _ in range(calls):
            body()
        return time.thread_time_ns() - started_ns

    span = Span("search")

    def with_span() -> None:
        with span:
            pass

    activate(recorder)
    try:
        return min(spent_ns(with_span) - spent_ns(lambda: None) for _ in range(5)) / calls
    finally:
        activate(None)


def from_below(run_dir: Path, span_ns: float) -> dict[str, float]:
    """What a profile must have cost, in percent of the processes' time: its spans, and the supervisor's collecting."""
    trace, diagnosis = load(run_dir)
    seconds = diagnosis.window.seconds
    spans = {track.name: sum(row.count for row in span_rows(track, diagnosis.window)) for track in trace.tracks}
    rows = [row for track in trace.tracks for row in span_rows(track, diagnosis.window)]
    return {
        "spans_per_s": sum(spans.values()) / seconds,
        "spans_percent_of_the_busiest": 100 * max(spans.values()) * span_ns / 1e9 / seconds,
        "collecting_percent": 100 * sum(row.total_s for row in rows if row.name == "collect_spans") / seconds,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", default="ab", help="some of a, b; c comes with b, d always")
    parser.add_argument("--repeats", type=int, default=3, help="of a, pairs of runs (default 3)")
    parser.add_argument("--train-steps", type=int, default=120, help="of a run without a slowdown (default 120)")
    parser.add_argument("--window-s", type=float, default=60.0, help="of a profile in b, at most (default 60)")
    arguments = parser.parse_args()
    results: dict[str, object] = {"words": TINY, "train_steps": arguments.train_steps}
    named: list[Named] = []
    with tempfile.TemporaryDirectory() as scratch_name:
        scratch = Path(scratch_name)
        carry_out(scratch / "warm", ("-", "none", 0.0), *schedule(4))  # fills numba's cache
        recorded_ns, unrecorded_ns = span_cost_ns(Recorder(lambda block: True)), span_cost_ns(None)
        results["span_ns"] = {"recorded": recorded_ns, "not recorded": unrecorded_ns}
        print(results["span_ns"], flush=True)
        if "a" in arguments.parts:
            runs = measure_overhead(scratch, repeats=arguments.repeats, train_steps=arguments.train_steps)
            results["runs"] = runs
            for field in ("train_steps_per_s", "cpu_s_per_train_step"):
                results[f"overhead_percent/{field}"] = percent = overhead(runs, field)
                print(f"overhead by {field}: {percent}")
            results["from_below"] = from_below(scratch / "profiled-0", recorded_ns)
            print(results["from_below"], flush=True)
        if "b" in arguments.parts:
            named = name_bottlenecks(scratch, train_steps=arguments.train_steps, window_s=arguments.window_s)
            results["named"] = named
    path = write_result("bench_profile", results, packages=("torch", "numba", "numpy"))
    print(f"written to {path}")
    wrong = [one for one in named if one.slowed and not one.right]
    unaccounted = max((one.unaccounted for one in named), default=0.0)
    if wrong or unaccounted >= MOST_UNACCOUNTED:
        print(f"wrongly named: {wrong}; unaccounted at most {unaccounted:.2%}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
