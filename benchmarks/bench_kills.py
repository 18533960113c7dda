"""A run of CartPole as processes that is killed ten times and resumed, beside one that is left alone.

Every kill is a SIGKILL of all its processes, at a random moment once a further checkpoint is whole; then
`train.py --resume`. Before each resume the checkpoint and its replay are read back and compared: env steps as counters
and as rows of the log, and every row with what the log held at the kill before (but the last two of a lane, which the
cut-off rewrites). At the end: exit code 0, each train step's figures there once, nothing left in /dev/shm.

A jump would show as a loss after a resume that differs from the loss before it by more than the loss differs over as
many train steps elsewhere: the largest is printed beside the same figure of the run that was left alone.

    make bench NAME=kills          # about 6 minutes; picture in docs/figures/kills_cartpole.png
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.common import write_result
from speedyzero.arguments.resolve import resolve
from speedyzero.checkpoint.stored import Checkpoint, resumable
from speedyzero.config.documents import read_config_document
from speedyzero.env.registry import check_game
from speedyzero.observe.metrics import MetricSeries, read_metrics
from speedyzero.reanalyze.restored import env_steps_of, restore_shard
from speedyzero.replay.shard import Shard, shard_shape
from speedyzero.supervisor.resume import find_resumable
from speedyzero.topology.pacing import record_interval

ROOT = Path(__file__).parents[1]
GAME, EVERY, WINDOW = "CartPole-v1", 50, 100  # train steps between checkpoints, and on either side of a kill
SETTINGS = (
    f"checkpoint.interval_train_steps={EVERY}",
    "evaluate.episodes=100",
    "evaluate.interval_train_steps=200",
    "evaluate.interval_episodes=20",
)
REWRITTEN_ROWS = 2


@dataclass(frozen=True)
class Kill:
    """One kill and what the resume after it went on from."""

    checkpoint_step: int
    env_steps: int
    rows_compared: int  # with the log at the kill before
    resume_s: float  # from the command to the next whole checkpoint


class Killed:
    """A run that is killed and resumed in one directory."""

    def __init__(self, run_dir: Path, seed: int):
        self.run_dir, self._random = run_dir, np.random.default_rng(seed)
        self.kills: list[Kill] = []
        self._rows: dict[str, np.ndarray] = {}
        self._process = start("--game", GAME, "--seed", str(seed), "--run-dir", str(run_dir), *SETTINGS)

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
        """Check what is there, then go on."""
        _, checkpoint = find_resumable(self.run_dir)
        rows, env_steps = rows_of(checkpoint, cut_offs=len(self.kills))
        compared = same_rows(self._rows, rows) if self._rows else 0
        self._rows = rows
        began_s, before = time.monotonic(), checkpoint.step
        self._process = start("--resume", str(self.run_dir))
        while newest_step(self.run_dir) <= before:
            self._assert_alive()
            time.sleep(0.05)
        self.kills.append(Kill(before, env_steps, compared, time.monotonic() - began_s))

    def finish(self) -> None:
        output, _ = self._process.communicate()
        left = [path.name for path in Path("/dev/shm").iterdir() if f".{self._process.pid}-" in path.name]
        if self._process.returncode or left:
            raise RuntimeError(f"exit code {self._process.returncode}, left in /dev/shm: {left}\n{output}")

    def _assert_alive(self) -> None:
        if self._process.poll() is not None:
            raise RuntimeError(f"ended with {self._process.returncode}\n{self._process.communicate()[0]}")


def start(*words: str) -> subprocess.Popen[str]:
    """`train.py` in a process group of its own."""
    command = [sys.executable, "train.py", "--gpus", "0", *words]
    return subprocess.Popen(
        command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
    )


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


def rows_of(checkpoint: Checkpoint, *, cut_offs: int) -> tuple[dict[str, np.ndarray], int]:
    """Every array of the restored shard, [E, n, ...], and the env steps in its rows.

    Raises RuntimeError where the checkpoint's counter says another number.
    """
    config = read_config_document(checkpoint.document("meta")["config"], str(checkpoint.directory))
    game = check_game(config.env)
    shard = Shard(shard_shape(config, game.spec, game.num_actions))
    restore_shard(shard, checkpoint, index=0)
    assert shard.head.max() <= shard.rows, "rows were overwritten: not all of them can be counted"
    rows = {
        name: getattr(shard, name)[:, : shard.head[0]]
        for name, (_, size) in shard.shape.fields().items()
        if size[:2] == (shard.lanes, shard.rows) and name not in ("priority", "stamp")
    }
    counted, said = int((~rows["last"]).sum()), sum(env_steps_of(checkpoint, 0))
    # A cut-off turns an env step of each lane, already counted, into a final observation.
    if not 0 <= said - counted <= shard.lanes * cut_offs:
        raise RuntimeError(f"the log holds {counted} env steps, the counters say {said}")
    return rows, said


def same_rows(before: dict[str, np.ndarray], now: dict[str, np.ndarray]) -> int:
    """How many rows are as they were. Raises RuntimeError where one is not."""
    count = before["last"].shape[1] - REWRITTEN_ROWS
    for name, rows in before.items():
        if not np.array_equal(rows[:, :count], now[name][:, :count]):
            raise RuntimeError(f"{name} of rows that were logged before a kill is another after it")
    return count * len(before["last"])


def jumps(loss: MetricSeries, at: list[int]) -> list[float]:
    """By how much the mean loss after each of some train steps differs from that before it."""
    found = []
    for step in at:
        before = loss.values[(loss.steps >= step - WINDOW) & (loss.steps < step)]
        after = loss.values[(loss.steps >= step) & (loss.steps < step + WINDOW)]
        found.append(float(after.mean() - before.mean()))
    return found


def draw(runs: dict[str, dict[str, MetricSeries]], kills: list[Kill], path: Path) -> None:
    """Scores of evaluations and loss over the train steps, the kills as lines.

    The actors' games are no curve here: a kill ends all that are under way.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 3.6), layout="constrained")
    panels = figure.subplots(1, 2)
    titles = {"evaluate/mean_score": "mean score of 20 games", "learner/loss": "loss, mean of 15 records"}
    for axes, (name, title) in zip(panels, titles.items(), strict=True):
        wide = 15 if name == "learner/loss" else 1
        for number, (label, metrics) in enumerate(runs.items()):
            series = metrics[name]
            values = np.convolve(series.values, np.ones(wide) / wide, mode="valid")
            axes.plot(series.steps[wide - 1 :], values, color=f"C{number}", label=label, linewidth=1)
        for index, kill in enumerate(kills):
            label = "resumed from here" if index == 0 else None
            axes.axvline(kill.checkpoint_step, color="black", alpha=0.4, linewidth=0.7, label=label)
        axes.set(xlabel="train steps", title=f"{GAME}: {title}")
        axes.legend(fontsize="small")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=90)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--figure", type=Path, default=Path("docs/figures/kills_cartpole.png"))
    arguments = parser.parse_args()
    total = resolve(None, GAME, arguments.seed, 0, None, []).schedule.total_train_steps
    at = [round(total * (i + 1) / (arguments.kills + 1)) for i in range(arguments.kills)]
    with tempfile.TemporaryDirectory() as folder:
        alone = Path(folder) / "alone"
        process = start("--game", GAME, "--seed", str(arguments.seed), "--run-dir", str(alone), *SETTINGS)
        output, _ = process.communicate()
        if process.returncode:
            raise RuntimeError(output)
        killed = Killed(Path(folder) / "killed", arguments.seed)
        for step in at:
            killed.kill_at(step)
            killed.resume()
        killed.finish()
        metrics = {"killed ten times" if arguments.kills == 10 else "killed": read_metrics(killed.run_dir)}
        metrics["left alone"] = read_metrics(alone)
        report(metrics, killed.kills, arguments.figure, total)


def report(metrics: dict[str, dict[str, MetricSeries]], kills: list[Kill], figure: Path, total: int) -> None:
    """Print, draw and keep. Raises RuntimeError where a train step's figures are missing or there twice."""
    results: dict[str, object] = {"game": GAME, "kills": [vars(kill) for kill in kills], "every": EVERY}
    for kill in kills:
        print(
            f"resumed at {kill.checkpoint_step:5}: "
            f"{kill.env_steps:6} env steps, {kill.rows_compared:6} rows as at the kill before, "
            f"next checkpoint after {kill.resume_s:.1f} s"
        )
    told = list(range(0, total, record_interval(resolve(None, GAME, 0, 0, None, []).schedule)))
    for label, run in metrics.items():
        steps = run["learner/loss"].steps.tolist()
        if steps != told:
            raise RuntimeError(f"{label}: {len(steps)} figures of {len(set(steps))} train steps, not {len(told)}")
        largest = max(map(abs, jumps(run["learner/loss"], [kill.checkpoint_step for kill in kills])))
        score = float(run["evaluate/mean_score"].values[-1]) if "evaluate/mean_score" in run else None
        results[label] = {
            "score": score,
            "largest_jump": largest,
            "loss_end": float(run["learner/loss"].values[-100:].mean()),
        }
        print(
            f"{label:18} score {score}, largest change of the mean loss over a resume's {WINDOW} steps: {largest:.3f}"
        )
    draw(metrics, kills, figure)
    print("written to", write_result("bench_kills", results, packages=("torch", "numpy")))


if __name__ == "__main__":
    main()
