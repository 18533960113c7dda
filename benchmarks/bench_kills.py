"""A run of CartPole as processes that is killed ten times and resumed, beside one that is left alone.

Every kill is a SIGKILL of all its processes, at a random moment once a further checkpoint is whole; then
`train.py --resume`. At the end: exit code 0, each train step's figures there once, nothing left in /dev/shm. (That the
replay is restored row for row is tested in tests/faults/test_resumed_runs.py.)

A jump would show as a loss after a resume that differs from the loss before it by more than the loss differs over as
many train steps elsewhere: the largest is printed beside the same figure of the run that was left alone.

    make bench NAME=kills          # about 6 minutes; picture in docs/figures/kills_cartpole.png
"""

import os
import signal
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.common import Figure, Panel, draw, parser, report
from benchmarks.runs import finish, last_score, start
from speedyzero.arguments.resolve import resolve
from speedyzero.checkpoint.stored import resumable
from speedyzero.observe.metrics import MetricSeries, read_metrics
from speedyzero.topology.pacing import record_interval

GAME, EVERY, WINDOW = "CartPole-v1", 50, 100  # train steps between checkpoints, and on either side of a kill
SETTINGS = (
    f"checkpoint.interval_train_steps={EVERY}",
    "evaluate.episodes=100",
    "evaluate.interval_train_steps=200",
    "evaluate.interval_episodes=20",
)


@dataclass(frozen=True)
class Kill:
    """One kill and what the resume after it went on from."""

    checkpoint_step: int
    resume_s: float  # from the command to the next whole checkpoint


class Killed:
    """A run that is killed and resumed in one directory."""

    def __init__(self, run_dir: Path, seed: int):
        self.run_dir, self._random = run_dir, np.random.default_rng(seed)
        self.kills: list[Kill] = []
        self._process = start("--game", GAME, "--seed", str(seed), "--run-dir", str(run_dir), *SETTINGS, own_group=True)

    def kill_at(self, checkpoint_step: int) -> None:
        """Once that checkpoint is whole and up to two seconds later."""
        while newest_step(self.run_dir) < checkpoint_step:
            self._assert_alive()
            time.sleep(0.05)
        time.sleep(self._random.uniform(0.0, 2.0))
        self._assert_alive()
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.communicate()
        wait_until_gone(self._process.pid)

    def resume(self) -> None:
        began_s, before = time.monotonic(), newest_step(self.run_dir)
        self._process = start("--resume", str(self.run_dir), own_group=True)
        while newest_step(self.run_dir) <= before:
            self._assert_alive()
            time.sleep(0.05)
        self.kills.append(Kill(before, time.monotonic() - began_s))

    def finish(self) -> None:
        finish(self._process)

    def _assert_alive(self) -> None:
        if self._process.poll() is not None:
            raise RuntimeError(f"ended with {self._process.returncode}\n{self._process.communicate()[0]}")


def wait_until_gone(group: int) -> None:
    """Until no process of a group is left."""
    while True:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return
        time.sleep(0.01)


def newest_step(run_dir: Path) -> int:
    """Of the whole checkpoints; -1 without one."""
    whole = resumable(run_dir)
    return int(whole[0].name.removeprefix("step_")) if whole else -1


def jumps(loss: MetricSeries, at: list[int]) -> list[float]:
    """By how much the mean loss after each of some train steps differs from that before it."""
    found = []
    for step in at:
        before = loss.values[(loss.steps >= step - WINDOW) & (loss.steps < step)]
        after = loss.values[(loss.steps >= step) & (loss.steps < step + WINDOW)]
        found.append(float(after.mean() - before.mean()))
    return found


def smoothed(series: MetricSeries, wide: int) -> tuple[list[float], list[float]]:
    """Train steps and means of so many records up to each."""
    values = np.convolve(series.values, np.ones(wide) / wide, mode="valid")
    return series.steps[wide - 1 :].tolist(), values.tolist()


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--kills", type=int, default=10)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--figure", type=Path, default=Path("docs/figures/kills_cartpole.png"))
    arguments = options.parse_args()
    schedule = resolve(None, GAME, arguments.seed, 0, None, []).schedule
    total = schedule.total_train_steps
    with tempfile.TemporaryDirectory() as folder:
        alone = Path(folder) / "alone"
        finish(start("--game", GAME, "--seed", str(arguments.seed), "--run-dir", str(alone), *SETTINGS))
        killed = Killed(Path(folder) / "killed", arguments.seed)
        for i in range(arguments.kills):
            killed.kill_at(round(total * (i + 1) / (arguments.kills + 1)))
            killed.resume()
        killed.finish()
        runs = {"killed and resumed": killed.run_dir, "left alone": alone}
        metrics = {name: read_metrics(run_dir) for name, run_dir in runs.items()}
        scores = {name: last_score(run_dir)["mean"] for name, run_dir in runs.items()}
    check_each_step_once(metrics, list(range(0, total, record_interval(schedule))))
    at = [kill.checkpoint_step for kill in killed.kills]
    score_panel, loss_panel = (Panel(f"{GAME}: {what}", "train steps", at=at) for what in ("mean score", "loss"))
    figures = [Figure.of("from the resume to the next whole checkpoint", [kill.resume_s for kill in killed.kills], "s")]
    for name, run in metrics.items():
        # The actors' games are no curve here: a kill ends all that are under way.
        score_panel.lines.append((name, *smoothed(run["evaluate/mean_score"], 1)))
        loss_panel.lines.append((name, *smoothed(run["learner/loss"], 15)))
        changes = [abs(one) for one in jumps(run["learner/loss"], at)]
        figures.append(Figure.of(f"{name}: change of the mean loss over the {WINDOW} steps at a kill", changes, ""))
        figures.append(Figure.of(f"{name}: score after {total:,} train steps", scores[name], ""))
    draw(arguments.figure, score_panel, loss_panel)
    report("bench_kills", figures, packages=("torch", "numpy"), game=GAME, every=EVERY, kills=killed.kills)


def check_each_step_once(runs: dict[str, dict[str, MetricSeries]], recorded: list[int]) -> None:
    """Raises RuntimeError where a train step's figures are missing or there twice."""
    for name, run in runs.items():
        steps = run["learner/loss"].steps.tolist()
        if steps != recorded:
            raise RuntimeError(f"{name}: {len(steps)} figures of {len(set(steps))} train steps, not {len(recorded)}")


if __name__ == "__main__":
    main()
