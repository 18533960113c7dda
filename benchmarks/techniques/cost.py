"""What a train step costs with a part switched off: processor time of the whole loop, inline, by turns.

Processor time, because it changes least with whatever else the machine does. The variants take turns of a few steps in
one process, each a run in progress, so that a busy moment hits them all.
"""

from __future__ import annotations

import statistics
import time

from benchmarks.common import write_result
from benchmarks.techniques.comparison import MEMO_OFF, REFRESH_OFF, SCENES
from speedyzero.arguments.resolve import resolve
from speedyzero.experiments.ablate.plan import BASE
from speedyzero.supervisor.inline import InlineRun, build_run

VARIANTS = {
    BASE: (),
    "sgd": ("optimizer.name=sgd", "optimizer.learning_rate=0.1"),
    "clipped_lars": ("optimizer.name=clipped_lars", "optimizer.learning_rate=0.1"),
    REFRESH_OFF.name: REFRESH_OFF.settings,
    MEMO_OFF.name: MEMO_OFF.settings,
}
WARM_UP, TURNS, STEPS = 12, 10, 5  # one target interval of 50 is measured


def measure_cost(name: str) -> None:
    """Print milliseconds a train step of each variant: median turn, least, most."""
    scene = SCENES[name]
    runs = {
        variant: build_run(resolve(None, scene.game, 0, 0, None, ["cpu_threads=1", *scene.settings, *settings]))
        for variant, settings in VARIANTS.items()
    }
    for run in runs.values():
        _train(run, WARM_UP)
    times_ms: dict[str, list[float]] = {variant: [] for variant in runs}
    for _ in range(TURNS):
        for variant, run in runs.items():
            started_s = time.process_time()
            _train(run, STEPS)
            times_ms[variant].append(1e3 * (time.process_time() - started_s) / STEPS)
    print("| arm | ms a train step, processor time: mean | median turn | least | most |\n|---|---|---|---|---|")
    for variant, times in times_ms.items():
        figures = (statistics.mean(times), statistics.median(times), min(times), max(times))
        print(f"| {variant} | {' | '.join(f'{figure:.1f}' for figure in figures)} |")
    results = {"scene": name, "cost_ms": times_ms}
    print(f"raw in {write_result('bench_techniques', results, packages=('torch', 'numba', 'numpy'))}")


def _train(run: InlineRun, steps: int) -> None:
    goal = run.edges.board.train_steps + steps
    while run.edges.board.train_steps < goal:
        run.turn()
        for _ in run.edges.metrics.drain():
            pass
