"""The directory of a grid: executes the unfinished runs, each as a child process.

    OUT/runs/<run>/      run directories; OUT/output/<run>.txt their printed output
    OUT/abandoned/       directories of runs that were restarted
    OUT/lock             held by the process executing the grid, and by its children

Executing a grid treats each run by its state (the middle two only if runs may resume):

    has its final score -> kept     trained, no score -> scored     has a checkpoint -> resumed      else -> restarted
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from speedyzero.experiments.grid.children import Ended, Job, run_jobs
from speedyzero.experiments.grid.run import GridRun, final_score, newest_step
from speedyzero.experiments.grid.slots import fitting_jobs, slots_for
from speedyzero.system.writer_lock import WriterLock

PROGRAM = (sys.executable, "-m", "speedyzero")
SCORE = (sys.executable, "-m", "speedyzero.experiments.grid.score")
SHOWN_LINES = 15
REASON_LETTERS = 300


class RunsFailed(RuntimeError):
    """Some runs of a grid failed; the results hold the others."""


@dataclass(frozen=True)
class Failure:
    exit_code: int
    """Negative: killed by that signal."""
    reason: str
    """The kind of exit and the last line printed."""


class GridFolder:
    """The runs of a grid and their directory."""

    def __init__(self, runs: Sequence[GridRun], out: Path, *, inline: bool, jobs: int | None, resumes: bool):
        """jobs: runs at a time; None: as many as fit. resumes: whether unfinished runs resume from their checkpoints
        instead of restarting.

        Raises ValueError for what cannot be run, and if `out` holds runs of other settings. Writes nothing.
        """
        self.runs, self.out, self.inline = tuple(runs), out, inline
        self._resumes = resumes
        self._slots = slots_for(runs, jobs or fitting_jobs(runs, inline=inline))
        self.finished: dict[str, dict] = {}  # final scores by the run's name, as written by `record_score`
        self.failed: dict[str, Failure] = {}  # by the run's name, in this execution
        for run in runs:
            self._look_for_score(run)

    @property
    def jobs(self) -> int:
        return len(self._slots)

    def run_dir(self, run: GridRun) -> Path:
        return self.out / "runs" / run.name

    def output_of(self, run: GridRun) -> Path:
        return self.out / "output" / f"{run.name}.txt"

    @contextmanager
    def locked(self) -> Iterator[WriterLock]:
        """Create the directory if missing and lock it. Raises ValueError if another process holds the lock."""
        (self.out / "output").mkdir(parents=True, exist_ok=True)
        with WriterLock(self.out / "lock", cargo=f"{self.out}") as lock:
            yield lock

    def carry_out(self, lock: WriterLock, *, ended: Callable[[GridRun, Ended], None]) -> None:
        """Execute the unfinished runs, also if some fail.

        ended: called for each run once it is among `finished` or `failed`. Raises KeyboardInterrupt once interrupted
        children have ended.
        """
        left = [run for run in self.runs if run.name not in self.finished]
        if len(left) < len(self.runs):
            print(f"{len(self.runs) - len(left)} of {len(self.runs)} runs are finished already", flush=True)
        by_name = {run.name: run for run in left}

        def note(one: Ended) -> None:
            run = by_name[one.job.name]
            self._record(run, one)
            ended(run, one)

        run_jobs(
            [Job(run.name, self._command(run), self.output_of(run)) for run in left],
            slots=self._slots,
            descriptor=lock.descriptor,
            started=lambda job: self._move_aside(by_name[job.name]),
            ended=note,
        )

    def progress(self) -> str:
        """Ended and total runs, as "3/8"."""
        return f"{len(self.finished) + len(self.failed)}/{len(self.runs)}"

    def raise_if_failed(self) -> None:
        """Raises RunsFailed, naming the failed runs and quoting the last output lines of the first."""
        if not self.failed:
            return
        first = next(run for run in self.runs if run.name in self.failed)
        words = _lines_of(self.output_of(first))[-SHOWN_LINES:]
        names = ", ".join(f"{name} ({failure.exit_code})" for name, failure in self.failed.items())
        raise RunsFailed(
            "\n".join([f"{len(self.failed)} of {len(self.runs)} runs failed: {names}; {first.name}:", *words])
        )

    def _step_to_resume_from(self, run: GridRun) -> int | None:
        return newest_step(self.run_dir(run)) if self._resumes else None

    def _command(self, run: GridRun) -> tuple[str, ...]:
        run_dir, step = self.run_dir(run), self._step_to_resume_from(run)
        if step is None:
            return (*PROGRAM, *run.command(run_dir, inline=self.inline))
        if step >= run.train_steps:
            return (*SCORE, str(run_dir))
        return (*PROGRAM, *run.command_to_go_on(run_dir, inline=self.inline))

    def _move_aside(self, run: GridRun) -> None:
        run_dir = self.run_dir(run)
        if not run_dir.exists() or self._step_to_resume_from(run) is not None:
            return
        folder = self.out / "abandoned"
        folder.mkdir(exist_ok=True)
        number = 1 + sum(1 for entry in folder.iterdir() if entry.name.startswith(f"{run.name}-"))
        os.rename(run_dir, folder / f"{run.name}-{number:03}")

    def _look_for_score(self, run: GridRun) -> None:
        score = final_score(run, self.run_dir(run))
        if score is not None:
            self.finished[run.name] = score

    def _record(self, run: GridRun, ended: Ended) -> None:
        if ended.exit_code == 0:
            self._look_for_score(run)
        if run.name not in self.finished:
            lines = [line.strip() for line in _lines_of(self.output_of(run)) if line.strip()]
            last = lines[-1][:REASON_LETTERS] if lines else "it printed nothing"
            self.failed[run.name] = Failure(ended.exit_code, f"{exit_in_words(ended.exit_code)}: {last}")


def exit_in_words(exit_code: int) -> str:
    """How a process ended, as "killed by SIGKILL"."""
    if exit_code == 0:
        return "ended without a final score"
    if exit_code > 0:
        return f"exit code {exit_code}"
    try:
        return f"killed by {signal.Signals(-exit_code).name}"
    except ValueError:  # a real-time signal has no name
        return f"killed by signal {-exit_code}"


def _lines_of(path: Path) -> list[str]:
    return path.read_text(errors="replace").splitlines()
