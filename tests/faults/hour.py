"""An hour of Pong as processes, in which every 30 seconds an actor or a reanalyzer is killed: `make soak-hour`.

A run as a user starts it, of the `laptop` preset with a small batch. Every 30 s a random one of actor and reanalyzer is
killed by SIGKILL at a random moment, if its predecessor's successor works already. The run must end by itself with exit
code 0, after --minutes at least, and leave nothing; every record must be accounted for on every ring, and env steps
must be those that the schedule asks for. What lives through all of it, the learner and the supervisor, must not grow:
memory of its own (the run's own metric), open files and names in /dev/shm, of the last quarter of the time beside the
second.

A line goes to benchmarks/results/soak_hour.jsonl, the picture to docs/figures/soak-hour.png; exit code 1 on failure.
"""

import argparse
import os
import random
import re
import signal
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.common import write_result
from speedyzero.observe.metrics import MetricSeries, read_metrics
from speedyzero.runtime.role_process import WORKING
from speedyzero.runtime.wiring import LEARNER, REANALYZER, actor_name
from tests.faults.whole_run import WholeRun

PICTURE = Path("docs/figures/soak-hour.png")
VICTIMS = (actor_name(0), REANALYZER)
LOOK_S = 5.0
MOST_GROWTH = 0.02  # of memory, from the second quarter to the last
SETTINGS = (  # the replay is full in the first quarter
    "learner.batch_size=16 target.interval_samples=800 learner.publish_interval_samples=160 search.num_simulations=8 "
    "replay.capacity_steps=2000 schedule.head_start_env_steps=400 evaluate.episodes=4 evaluate.parallel_envs=4 "
    "evaluate.video=false supervisor.max_restarts=1000"
).split()


@dataclass(frozen=True)
class Look:
    """What was seen of the run at one moment. files: open ones."""

    at_s: float
    train_steps: int
    env_steps: int
    files: dict[str, int]
    shared_names: int


@dataclass
class Hour:
    """The run, and what was done to it and seen of it."""

    run: WholeRun
    random: random.Random
    started_s: float = field(default_factory=time.monotonic)
    looks: list[Look] = field(default_factory=list)
    kills: dict[str, int] = field(default_factory=lambda: dict.fromkeys(VICTIMS, 0))

    def suffer(self, every_s: float) -> None:
        """Until the run ends: a kill at a random moment of every `every_s` seconds, and a look now and then."""
        begins_s = time.monotonic()
        while self.run.process.poll() is None:
            strike_s = begins_s + self.random.uniform(0.0, every_s)
            struck = False
            while time.monotonic() < begins_s + every_s and self.run.process.poll() is None:
                if not struck and time.monotonic() >= strike_s:
                    struck = self._strike(self.random.choice(VICTIMS))
                if not self.looks or time.monotonic() - self.started_s - self.looks[-1].at_s >= LOOK_S:
                    self._look()
                time.sleep(0.05)
            begins_s += every_s

    def _strike(self, name: str) -> bool:
        """Whether there was anybody to kill: a process that works."""
        if self.run.board.state(name) != WORKING:
            return False
        pid = self.run.pid_of(name)
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            return False
        self.kills[name] += 1
        return True

    def _look(self) -> None:
        pids = {"supervisor": self.run.process.pid, LEARNER: self.run.pid_of(LEARNER)}
        try:
            files = {name: len(os.listdir(f"/proc/{pid}/fd")) for name, pid in pids.items()}
        except (FileNotFoundError, ProcessLookupError):
            return  # it is ending
        board, at_s = self.run.board, time.monotonic() - self.started_s
        shared_names = len(self.run.shared_names())
        self.looks.append(Look(at_s, board.total("train_steps"), board.total("env_steps"), files, shared_names))
        if len(self.looks) % 60 == 0:
            print(f"{at_s / 60:5.1f} min  {self.looks[-1]}  kills {self.kills}", flush=True)


def quarters(values: Sequence[float]) -> tuple[float, float]:
    """Medians of the second and of the last quarter."""
    quarter = len(values) // 4
    return statistics.median(values[quarter : 2 * quarter]), statistics.median(values[-quarter:])


def judge(hour: Hour, output: str, metrics: dict[str, MetricSeries]) -> tuple[dict[str, object], list[str]]:
    """What was found, and in words what is wrong with it."""
    config, last = hour.run.config, {name: series.values[-1] for name, series in metrics.items()}
    replaced = {name: len(re.findall(f"{name} died and is replaced .* by signal SIGKILL", output)) for name in VICTIMS}
    deaths = len(re.findall("died and is replaced", output))
    rings = {name.removeprefix("ring/").removesuffix("/produced") for name in last if name.endswith("/produced")}
    records = {
        ring: {
            "produced": int(last[f"ring/{ring}/produced"]),
            "consumed": int(last[f"ring/{ring}/consumed"]),
            "dropped": int(sum(value for name, value in last.items() if name.startswith(f"ring/{ring}/dropped_"))),
            "unaccounted": int(last[f"ring/{ring}/unaccounted"]),
        }
        for ring in sorted(rings)
    }
    growth = {}
    for name in ("supervisor", LEARNER):
        growth[f"{name} MiB"] = quarters(metrics[f"memory/{name}_mib"].values.tolist())
        growth[f"{name} open files"] = quarters([look.files[name] for look in hour.looks])
    growth["names in /dev/shm"] = quarters([look.shared_names for look in hour.looks])
    found: dict[str, object] = {
        "minutes": hour.looks[-1].at_s / 60,
        "exit_code": hour.run.process.returncode,
        "left": hour.run.shared_names() + [str(pid) for pid in hour.run.group()],
        "kills": hour.kills,
        "replaced": replaced,
        "other_deaths": deaths - sum(replaced.values()),
        "env_steps": int(last["supervisor/env_steps"]),
        "train_steps": hour.looks[-1].train_steps,
        "records": records,
        "second_and_last_quarter": growth,
        "settings": SETTINGS,
    }
    wrong = [f"exit code {found['exit_code']}"] if found["exit_code"] else []
    wrong += [f"left behind: {found['left']}"] if found["left"] else []
    wrong += [f"{ring}: {one}" for ring, one in records.items() if one["unaccounted"]]
    if not 0 <= sum(hour.kills.values()) - sum(replaced.values()) <= 1:  # the last may fall into the end of the run
        wrong.append(f"replaced {replaced}, killed {hour.kills}")
    wrong += [f"{found['other_deaths']} deaths that nobody caused"] if found["other_deaths"] else []
    least, slack = config.schedule.env_steps, 2 * config.actor.envs
    if not least <= found["env_steps"] <= least + slack:  # type: ignore[operator]
        wrong.append(f"{found['env_steps']} env steps, asked were {least}")
    wrong += [
        f"{name} grew from {early:g} to {late:g}"
        for name, (early, late) in growth.items()
        if late > early * (1.0 + (MOST_GROWTH if name.endswith("MiB") else 0.0))
    ]
    return found, wrong


def draw(metrics: dict[str, MetricSeries], path: Path) -> None:
    """Memory of everybody, replacements and progress over time, as the run itself recorded them."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (memory, replaced, steps) = pyplot.subplots(1, 3, figsize=(11.6, 3.0), layout="constrained")
    for name in ("supervisor", LEARNER, *VICTIMS):
        own = metrics[f"memory/{name}_mib"]
        memory.plot(own.times_s / 60, own.values, label=name, linewidth=0.8 if name in VICTIMS else 1.6)
    restarts, env_steps = metrics["supervisor/restarts"], metrics["supervisor/env_steps"]
    replaced.plot(restarts.times_s / 60, restarts.values)
    steps.plot(env_steps.times_s / 60, env_steps.values, label="env steps")
    steps.plot(env_steps.times_s / 60, env_steps.steps, label="train steps")
    memory.set(title="memory of one's own", ylabel="MiB")
    replaced.set(title="processes replaced so far", ylabel="count")
    steps.set(title="progress", ylabel="steps")
    for axes in (memory, replaced, steps):
        axes.set(xlabel="time (minutes)", xlim=(0, None), ylim=(0, None))
        axes.grid(alpha=0.25)
    for axes in (memory, steps):
        axes.legend(frameon=False, fontsize=8)
    figure.savefig(path, dpi=110)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--every-s", type=float, default=30.0, help="seconds between two kills (default 30)")
    parser.add_argument(
        "--train-steps", type=int, default=16_000, help="of the run: they decide how long it takes (default 16000)"
    )
    parser.add_argument("--minutes", type=float, default=60.0, help="that it has to take at least (default 60)")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    schedule = (
        f"schedule.train_steps={arguments.train_steps}",
        f"schedule.env_steps={2 * arguments.train_steps + 400}",
    )
    with tempfile.TemporaryDirectory() as scratch:
        run_dir = Path(scratch) / "run"
        with WholeRun.play("Pong", "laptop", arguments.seed, run_dir, *SETTINGS, *schedule) as run:
            said: list[str] = []
            listener = threading.Thread(target=said.extend, args=(run.process.stdout,))
            listener.start()  # nobody reading would stop the run once the pipe is full
            run.wait_for(lambda: all(run.board.state(name) == WORKING for name in run.wiring.processes), "everybody")
            hour = Hour(run, random.Random(arguments.seed))
            hour.suffer(arguments.every_s)
            listener.join()
            output = "".join(said)
            if run.process.wait():
                print(output, file=sys.stderr)
            metrics = read_metrics(run_dir)
            found, wrong = judge(hour, output, metrics)
            if hour.looks[-1].at_s < 60 * arguments.minutes:
                wrong.append(f"{found['minutes']:.0f} minutes, {arguments.minutes:.0f} were asked: more --train-steps")
            draw(metrics, PICTURE)
    for name, value in found.items():
        print(f"{name:24} {value}")
    path = write_result("soak_hour", {**found, "wrong": wrong, "seed": arguments.seed}, packages=("torch", "numpy"))
    print(f"written to {path} and {PICTURE}")
    print(*wrong, sep="\n", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
