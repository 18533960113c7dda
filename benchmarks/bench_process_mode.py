"""A game as processes, with one learner and with two, beside the same run in one process: its score, steps a second,
and where each process's time goes.

All are whole runs, started as a user starts them, by turns, a seed for each round; rates are of the paced part, from
the first train step to the last. A first short run of each fills numba's cache. Training seconds are by the clock from
the command to the final evaluation. Every run must exit with 0 and leave nothing in /dev/shm.

    make bench NAME=process_mode
    make bench NAME=process_mode ARGS="--game Pong --repeats 1"
"""

import tempfile
import time
from pathlib import Path

from benchmarks.common import Figure, parser, report
from benchmarks.runs import Rates, last_score, rates, time_shares, time_table, train

WARM_UP = [
    "schedule.env_steps=700",
    "schedule.head_start_env_steps=500",
    "schedule.train_steps=20",
    "evaluate.episodes=1",
]
MODES = {"inline": ["--inline"], "processes": [], "two ranks": ["learner.ranks=2"]}


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--game", default="CartPole-v1")
    options.add_argument("--repeats", type=int, default=3, help="runs of each mode, seeds 0 upwards (default 3)")
    options.add_argument("--modes", default=",".join(MODES), help=f"some of {', '.join(MODES)}")
    options.add_argument("settings", nargs="*", help="key=value, as for train.py")
    arguments = options.parse_args()
    game, modes = arguments.game, {mode: MODES[mode] for mode in arguments.modes.split(",")}
    measured: dict[str, list[Rates]] = {mode: [] for mode in modes}
    scores: dict[str, list[float]] = {mode: [] for mode in modes}
    training_s: dict[str, list[float]] = {mode: [] for mode in modes}
    shares: dict[str, dict[str, dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        cache = Path(scratch) / "numba"
        for mode, argv in modes.items():
            train(
                Path(scratch) / f"warm-{mode}", "--game", game, *argv, *arguments.settings, *WARM_UP, numba_cache=cache
            )
        for seed in range(arguments.repeats):
            for mode, argv in modes.items():
                run_dir, started_s = Path(scratch) / f"{mode}-{seed}", time.monotonic()
                of_seed = ["--game", game, "--seed", str(seed), *argv, *arguments.settings]
                metrics = train(run_dir, *of_seed, numba_cache=cache)
                last = last_score(run_dir)
                training_s[mode].append(time.monotonic() - started_s - last["duration_s"])
                measured[mode].append(rates(metrics))
                scores[mode].append(last["mean"])
                shares[mode] = time_shares(metrics, since_s=float(metrics["learner/loss"].times_s[0]))
                print(f"{mode}, seed {seed}: score {last['mean']:.1f}, {measured[mode][-1]}", flush=True)
    for mode, of_mode in shares.items():
        print(f"\n{mode}, the last run\n{time_table(of_mode)}")
    figures = []
    for mode in modes:
        steps_per_s = [one.train_steps_per_s for one in measured[mode]]
        figures.append(Figure.of(f"{game}, {mode}: rate of the paced part", steps_per_s, "train steps/s"))
        figures.append(Figure.of(f"{game}, {mode}: training", training_s[mode], "s"))
        figures.append(Figure.of(f"{game}, {mode}: final score", scores[mode], ""))
    report(
        "bench_process_mode", figures, packages=("torch", "numba", "numpy", "gymnasium"), game=game,
        settings=arguments.settings, rates=measured, scores=scores, shares=shares,
    )  # fmt: skip


if __name__ == "__main__":
    main()
