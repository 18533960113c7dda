"""A short real run of Pong as processes, started as a user starts it, and where each process's time goes.

The run is stopped like one that is interrupted, after the time there is: it need not finish. Shares are of the time
after the learner's first steps, so that starting and compiling do not count. It is the beginning of a run, when there
is little to reanalyse yet: later the reanalyzer has more to do.
"""

import math
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.gpu.context import Context
from benchmarks.gpu.runner import ROOT
from benchmarks.runs import Metrics, series_after, time_shares, time_table
from speedyzero.observe.metrics import read_metrics

INTERRUPTED = 130  # the exit code after SIGINT
STOP_S = 16.0  # from the interrupt to the end of all processes
RECORDS_S = 2.0
WHOLE_RUN_TRAIN_STEPS = 18_000  # of the atari100k preset: a projection at this rate, no measurement
LOG_NAME = "pong.log"

SETTINGS = {
    "--preset": "atari100k",
    "schedule.head_start_env_steps": "1000",
    "evaluate.interval_train_steps": "0",
    "evaluate.video": "false",
    "supervisor.record_interval_s": str(RECORDS_S),
}
REHEARSED_S = 60.0
REHEARSED = {
    "--preset": "laptop",
    "--gpus": "0",
    "env.image_size_px": "32",
    "model.network": "mlp",
    "learner.batch_size": "8",
    "search.num_simulations": "4",
    "schedule.head_start_env_steps": "400",
    "supervisor.record_interval_s": "1",
}


def run(context: Context) -> dict[str, Any]:
    settings = context.size(SETTINGS, REHEARSED)
    argv = [word for key, value in settings.items() for word in ([key, value] if key[0] == "-" else [f"{key}={value}"])]
    with tempfile.TemporaryDirectory(prefix="gpu-suite-pong-") as scratch:
        run_dir = Path(scratch) / "run"
        command = [sys.executable, "train.py", "--game", "Pong", "--run-dir", str(run_dir), *argv]
        seconds = min(context.left_s - STOP_S, context.size(math.inf, REHEARSED_S))
        code = play(command, context.out / LOG_NAME, seconds=seconds)
        context.keep(settings=settings, exit_code=code)
        if code not in (0, INTERRUPTED, -signal.SIGKILL):  # what was killed has left metrics all the same
            raise RuntimeError(f"train.py ended with {code}, see {LOG_NAME}: {last_line(context.out / LOG_NAME)}")
        metrics = read_metrics(run_dir)
    context.keep(**figures(metrics))
    busy = context.results["shares"]["learner-0"]["busy"]
    rate = context.results["train_steps_per_s"]
    context.keep(seen=f"exit {code}, {rate:.2f} train steps/s, the learner {busy:.0%} busy")
    print(time_table(context.results["shares"]))
    return context.results


def play(command: list[str], log_path: Path, *, seconds: float) -> int:
    """Run, interrupt after so many seconds, kill if it does not end then; the exit code."""
    with log_path.open("w") as log:
        process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
        for patience_s, then in ((seconds, process.send_signal), (STOP_S - 2.0, lambda _: process.kill())):
            try:
                return process.wait(max(1.0, patience_s))
            except subprocess.TimeoutExpired:
                then(signal.SIGINT)
        return process.wait()


def last_line(path: Path) -> str:
    return next((line for line in reversed(path.read_text(errors="replace").splitlines()) if line.strip()), "no output")


def figures(metrics: Metrics) -> dict[str, Any]:
    """Rates and shares while the learner learned. Raises ValueError where it never did."""
    if "learner/loss" not in metrics or len(metrics["learner/loss"].steps) < 2:
        raise ValueError(f"the learner made too few steps to measure; there is {', '.join(sorted(metrics))}")
    begun_s = float(metrics["learner/loss"].times_s[0])
    played = series_after(metrics["supervisor/env_steps"], begun_s)
    seconds = float(played.times_s[-1] - played.times_s[0])
    train_steps = float(played.steps[-1] - played.steps[0]) / seconds
    env_steps = float(played.values[-1] - played.values[0]) / seconds
    return {
        "learner_began_after_s": begun_s,
        "measured_s": seconds,
        "train_steps_per_s": train_steps,
        "env_steps_per_s": env_steps,
        "projected_minutes": WHOLE_RUN_TRAIN_STEPS / train_steps / 60 if train_steps > 0 else math.inf,
        "shares": time_shares(metrics, since_s=begun_s),
    }
