"""The memo on a real Pong run: searches a train step with it and without, and how old the target network gets.

The run itself counts both: what batches ask for is what would be searched without the memo (`reanalyze.memo=false`
searches exactly that, `tests/reanalyze/test_memo.py`), what is not in the table is what was searched.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.common import write_result
from benchmarks.techniques.comparison import RUNS
from speedyzero.experiments.ablate.command import AblationFolder
from speedyzero.experiments.ablate.plan import BASE, Ablation, Arm
from speedyzero.observe.metrics import read_metrics

SETTINGS = (
    "reanalyze.policy_share=1",  # the preset searches none anew
    "schedule.train_steps=210",
    "schedule.env_steps=760",
    "schedule.head_start_env_steps=400",
    "target.interval_samples=6400",  # this, the TD steps and the optimiser: what the recorded figures are of
    "target.td_steps=5",
    "optimizer.name=sgd",
    "optimizer.learning_rate=0.05",
    "optimizer.decay_fraction=1.0",
    "evaluate.interval_train_steps=0",
    "evaluate.episodes=1",
)


def measure_pong() -> None:
    """Pong by the laptop preset, shortened, inline and as processes. Print the factor, check the staleness."""
    results = {}
    print("mode        searches a step, without   with   factor   largest lag (bound) train steps   largest batch age")
    for mode in ("inline", "processes"):
        arms = (Arm(BASE, ()),)
        ablation = Ablation(
            arms=arms, seeds=(0,), game="Pong", preset="laptop", gpus=0, settings=SETTINGS, inline=mode == "inline"
        )
        folder = AblationFolder(ablation, RUNS / f"pong-{mode}", jobs=1)
        folder.carry_out()
        (run,) = folder.runs
        figures = results[mode] = _figures(folder.run_dir(run), run.config.target_interval)
        print(
            f"{mode:<10} {figures['requested_per_step']:>25.1f} {figures['searched_per_step']:>6.1f} "
            f"{figures['factor']:>8.1f} {figures['largest_lag']:>13.0f} ({figures['lag_bound']:.0f}) "
            f"{figures['largest_batch_age']:>32.0f}"
        )
    path = write_result("bench_techniques", {"scene": "pong", "memo": results}, packages=("torch", "numba", "numpy"))
    print(f"raw in {path}")


def _figures(run_dir: Path, interval: int) -> dict[str, float]:
    metrics = read_metrics(run_dir)
    requested, searched = (metrics[f"reanalyzer/{name}"] for name in ("requested_searches", "searches"))
    lag, age = metrics["learner/target_lag"].values, metrics["learner/batch_age"].values
    fresh_lag = lag - age  # when the batch was made
    if fresh_lag.max() > 2 * interval - 1:
        raise RuntimeError(f"a target network was {fresh_lag.max():.0f} train steps old, more than 2 * {interval} - 1")
    steps = searched.steps[-1]
    return {
        "interval": interval,
        "requested_per_step": float(requested.values[-1] / steps),
        "searched_per_step": float(searched.values[-1] / steps),
        "factor": float(requested.values[-1] / searched.values[-1]),
        "eligible_positions": float(metrics["reanalyzer/eligible_positions"].values[-1]),
        "largest_lag": float(lag.max()),
        "lag_bound": float(2 * interval - 1 + age.max()),
        "largest_batch_age": float(age.max()),
        "smallest_lag_after_first_interval": float(np.min(lag[metrics["learner/target_lag"].steps >= interval])),
    }
