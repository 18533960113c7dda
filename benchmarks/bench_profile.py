"""What profiling a run of Pong as processes costs.

    runs    profiled and not, by turns: train steps a second and processor seconds a train step, of the paced part
    span    one span, in ns of processor time: with a recorder, and without one

Rates are by the runs' own metrics, from the first recorded train step to the last. Processor seconds are all
processes', the supervisor's too, after learning has begun: what other programs change least, though still by more than
is looked for where they share caches and cores.

    make bench NAME=profile
    make bench NAME=profile ARGS="--repeats 5 --train-steps 150"
"""

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.common import Figure, parser, report
from benchmarks.runs import Metrics, rates, train
from speedyzero.tracing.spans import Recorder, Span, activate

HEAD_START = 400
TINY = (
    f"--game Pong --preset laptop schedule.head_start_env_steps={HEAD_START} evaluate.video=false "
    "evaluate.episodes=1 evaluate.parallel_envs=1 env.eval_limit_frames=400 checkpoint.keep_last=0 "
    "supervisor.record_interval_s=2 learner.batch_size=16 search.num_simulations=8"
).split()


@dataclass(frozen=True)
class Run:
    train_steps_per_s: float
    cpu_s_per_train_step: float


def schedule(train_steps: int) -> list[str]:
    """2.4 env steps a train step after the head start: what the recorded figures are of."""
    return [f"schedule.train_steps={train_steps}", f"schedule.env_steps={HEAD_START + round(2.4 * train_steps)}"]


def cpu_s_per_train_step(metrics: Metrics) -> float:
    """Of all processes, between the first record after learning had begun and the last."""
    used_s, steps = 0.0, 0
    for name, series in metrics.items():
        if name.startswith("time/") and name.endswith("_cpu_s"):
            learning = np.nonzero(series.steps > 0)[0]
            used_s += float(series.values[-1] - series.values[learning[0]])
            steps = int(series.steps[-1] - series.steps[learning[0]])
    return used_s / steps if steps else float("nan")  # a run that ends between two records


def measure_runs(scratch: Path, *, repeats: int, train_steps: int) -> dict[str, list[Run]]:
    """Runs without and with a profile of all of it, by turns, the first turn alternating."""
    found: dict[str, list[Run]] = {"plain": [], "profiled": []}
    for index in range(repeats):
        for name in ("plain", "profiled") if index % 2 == 0 else ("profiled", "plain"):
            flags = ["--profile"] if name == "profiled" else []
            metrics = train(scratch / f"{name}-{index}", *TINY, *schedule(train_steps), *flags)
            found[name].append(Run(rates(metrics).train_steps_per_s, cpu_s_per_train_step(metrics)))
            print(name, found[name][-1], flush=True)
    return found


def span_cost_ns(recorder: Recorder | None, calls: int = 200_000) -> list[float]:
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
        return [(spent_ns(with_span) - spent_ns(lambda: None)) / calls for _ in range(5)]
    finally:
        activate(None)


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--repeats", type=int, default=3, help="pairs of runs (default 3)")
    options.add_argument("--train-steps", type=int, default=120, help="of a run (default 120)")
    arguments = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        train(scratch / "warm", *TINY, *schedule(4))  # fills numba's cache
        figures = [
            Figure.of("one span", span_cost_ns(Recorder(lambda block: True)), "ns of processor time", "1,000 ns"),
            Figure.of("one span where none is recorded", span_cost_ns(None), "ns of processor time"),
        ]
        runs = measure_runs(scratch, repeats=arguments.repeats, train_steps=arguments.train_steps)
        pairs = list(zip(runs["plain"], runs["profiled"], strict=True))
        slower = [100 * (plain.train_steps_per_s / profiled.train_steps_per_s - 1) for plain, profiled in pairs]
        more = [100 * (profiled.cpu_s_per_train_step / plain.cpu_s_per_train_step - 1) for plain, profiled in pairs]
        figures += [
            Figure.of("a profiled run's time for a train step, more than an unprofiled one's", slower, "%", "under 2%"),
            Figure.of("its processor time for a train step, more than an unprofiled one's", more, "%", "under 2%"),
        ]
    report("bench_profile", figures, packages=("torch", "numba", "numpy"), train_steps=arguments.train_steps, runs=runs)


if __name__ == "__main__":
    main()
