"""The directory of a grid: executes the unfinished runs, each as a child process, and keeps the results up to date.

    OUT/<plan file>      what determines the runs
    OUT/runs/<run>/      run directories; OUT/output/<run>.txt their printed output
    OUT/abandoned/       directories of runs that were restarted
    OUT/lock             held by the process executing the grid, and by its children

Executing a grid treats each run by its state (the middle two only if runs may resume):

    has its final score -> kept     trained, no score -> scored     has a checkpoint -> resumed      else -> restarted
"""

import json
import os
import signal
import sys
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from speedyzero.arguments.resolve import visible_gpus
from speedyzero.config.placement import place
from speedyzero.env.registry import check_game
from speedyzero.experiments.grid.children import Ended, Job, run_jobs
from speedyzero.experiments.grid.run import GridRun, final_score, newest_step
from speedyzero.model.threads import threads_for
from speedyzero.system.atomic_file import write_json
from speedyzero.system.writer_lock import WriterLock

PROGRAM = (sys.executable, "-m", "speedyzero")
SCORE = (sys.executable, "-m", "speedyzero.experiments.grid.score")
NOT_YET = "not run yet"
REASON_LETTERS = 300

Outcome = TypeVar("Outcome")


class RunsFailed(RuntimeError):
    """Some runs of a grid have no score; the results hold the others."""


@dataclass(frozen=True)
class Failure:
    exit_code: int
    """Negative: killed by that signal."""
    reason: str
    """The kind of exit and the last line printed."""


class GridFolder(ABC, Generic[Outcome]):
    """The runs of a grid and their directory. What is planned, read of a run and written is the subclass's."""

    plan_file: str
    resumes: bool
    """Whether unfinished runs resume from their checkpoints instead of restarting."""

    def __init__(self, runs: Sequence[GridRun], out: Path, *, inline: bool, jobs: int | None):
        """jobs: runs at a time; None: as many as fit.

        Raises ValueError for what cannot be run, and if `out` holds runs of other settings. Writes nothing.
        """
        self.runs, self.out, self.inline = tuple(runs), out, inline
        self._slots = slots_for(runs, jobs or fitting_jobs(runs, inline=inline))
        self.jobs = len(self._slots)
        self.failed: dict[str, Failure] = {}  # by the run's name, in this execution
        self._scores = {run.name: final_score(run, self.run_dir(run)) for run in runs}
        self._outcomes: dict[str, Outcome] = {}
        plan = out / self.plan_file
        if plan.is_file() and (mode := json.loads(plan.read_bytes())["inline"]) != inline:
            raise ValueError(f"{out} was begun with inline={mode}: continue so, or choose another --out")

    @abstractmethod
    def plan_document(self) -> dict:
        """The content of the plan file; `inline` among it."""

    @abstractmethod
    def read(self, run: GridRun, score: dict) -> Outcome:
        """The outcome of a finished run. score: from `final_score`."""

    @abstractmethod
    def describe(self, outcome: Outcome) -> str:
        """A few words for the line that is printed when a run has ended."""

    @abstractmethod
    def write_results(self, *, at_end: bool) -> None:
        """Write what is known so far. at_end: this is the last time."""

    def run_dir(self, run: GridRun) -> Path:
        return self.out / "runs" / run.name

    def output_of(self, run: GridRun) -> Path:
        return self.out / "output" / f"{run.name}.txt"

    def outcome(self, run: GridRun) -> Outcome | None:
        """Read once; None if the run is not finished."""
        score = self._scores[run.name]
        if score is not None and run.name not in self._outcomes:
            self._outcomes[run.name] = self.read(run, score)
        return self._outcomes.get(run.name)

    def outcomes(self) -> list[Outcome]:
        """Of the finished runs."""
        return [outcome for run in self.runs if (outcome := self.outcome(run)) is not None]

    def missing(self) -> dict[tuple[str, int], str]:
        """Why a run has no score, by group and seed."""
        left = [run for run in self.runs if self._scores[run.name] is None]
        reasons = {name: failure.reason for name, failure in self.failed.items()}
        return {(run.group, run.seed): reasons.get(run.name, NOT_YET) for run in left}

    def carry_out(self) -> list[Outcome]:
        """Execute the unfinished runs, also if some fail, write the results and return the finished runs' outcomes.

        Raises RunsFailed at the end if runs have no score, KeyboardInterrupt once interrupted children have ended, and
        ValueError if another process is using the directory.
        """
        (self.out / "output").mkdir(parents=True, exist_ok=True)
        with WriterLock(self.out / "lock", cargo=f"{self.out}") as lock:
            write_json(self.out / self.plan_file, self.plan_document())
            self.write_results(at_end=False)
            try:
                self._run_unfinished(lock)
            except KeyboardInterrupt:
                self.write_results(at_end=True)
                raise
            self.write_results(at_end=True)
        if missing := self.missing():
            lines = [f"{group}, seed {seed}: {why}" for (group, seed), why in missing.items()]
            total = len(self.outcomes()) + len(missing)
            raise RunsFailed("\n".join([f"{len(missing)} of {total} runs have no score:", *lines]))
        return self.outcomes()

    def _run_unfinished(self, lock: WriterLock) -> None:
        by_name = {run.name: run for run in self.runs if self._scores[run.name] is None}
        if len(by_name) < len(self.runs):
            print(f"{len(self.runs) - len(by_name)} of {len(self.runs)} runs are finished already", flush=True)
        run_jobs(
            [Job(run.name, self._command(run), self.output_of(run)) for run in by_name.values()],
            slots=self._slots,
            descriptor=lock.descriptor,
            started=lambda job: self._move_aside(by_name[job.name]),
            ended=lambda one: self._note(by_name[one.job.name], one),
        )

    def _command(self, run: GridRun) -> tuple[str, ...]:
        run_dir, step = self.run_dir(run), self._step_to_resume_from(run)
        if step is None:
            return (*PROGRAM, *run.command(run_dir, inline=self.inline))
        if step >= run.train_steps:
            return (*SCORE, str(run_dir))
        return (*PROGRAM, *run.command_to_go_on(run_dir, inline=self.inline))

    def _step_to_resume_from(self, run: GridRun) -> int | None:
        return newest_step(self.run_dir(run)) if self.resumes else None

    def _move_aside(self, run: GridRun) -> None:
        run_dir = self.run_dir(run)
        if not run_dir.exists() or self._step_to_resume_from(run) is not None:
            return
        folder = self.out / "abandoned"
        folder.mkdir(exist_ok=True)
        number = 1 + sum(1 for entry in folder.iterdir() if entry.name.startswith(f"{run.name}-"))
        os.rename(run_dir, folder / f"{run.name}-{number:03}")

    def _note(self, run: GridRun, ended: Ended) -> None:
        if ended.exit_code == 0:
            self._scores[run.name] = final_score(run, self.run_dir(run))
        outcome = self.outcome(run)
        if outcome is None:
            lines = [line.strip() for line in self.output_of(run).read_text(errors="replace").splitlines()]
            last = next((line for line in reversed(lines) if line), "it printed nothing")[:REASON_LETTERS]
            self.failed[run.name] = Failure(ended.exit_code, f"{exit_in_words(ended.exit_code)}: {last}")
            what = f"FAILED, {self.failed[run.name].reason}; see {self.output_of(run)}"
        else:
            what = self.describe(outcome)
        progress = f"{len(self.outcomes()) + len(self.failed)}/{len(self.runs)}"
        print(f"{progress}  {run.group}, seed {run.seed}: {what}, {ended.duration_s:.0f} s", flush=True)
        self.write_results(at_end=False)


def exit_in_words(exit_code: int) -> str:
    """How a process ended, as "killed by SIGKILL"."""
    if exit_code == 0:
        return "ended without a final score"
    if exit_code > 0:
        return f"exit code {exit_code}"
    names = {number.value: number.name for number in signal.Signals}
    return f"killed by {names.get(-exit_code, f'signal {-exit_code}')}"  # a real-time signal has no name


def fitting_jobs(runs: Sequence[GridRun], *, inline: bool) -> int:
    """How many runs fit on the machine's GPUs, or its cores for CPU runs, at a time; at least one."""
    gpus = max(run.config.gpus for run in runs)
    if gpus:
        return max(1, visible_gpus() // gpus)
    return max(1, len(os.sched_getaffinity(0)) // max(_cores_of(run, inline=inline) for run in runs))


def slots_for(runs: Sequence[GridRun], jobs: int) -> list[dict[str, str]]:
    """Environment variables of each slot, which assign it GPUs of its own.

    Raises ValueError if there are not enough GPUs.
    """
    most = max(run.config.gpus for run in runs)
    if most == 0:
        return [{} for _ in range(jobs)]
    known = os.environ.get("CUDA_VISIBLE_DEVICES")
    devices = known.split(",") if known else [f"{number}" for number in range(visible_gpus())]
    if jobs * most > len(devices):
        raise ValueError(f"--jobs {jobs} with {most} GPUs each: {len(devices)} visible here")
    return [{"CUDA_VISIBLE_DEVICES": ",".join(devices[slot * most : (slot + 1) * most])} for slot in range(jobs)]


def _cores_of(run: GridRun, *, inline: bool) -> int:
    """Each role process keeps its threads, at least one, busy nearly all the time."""
    if inline:
        return threads_for(run.config, check_game(run.config.env).spec)
    placement = place(run.config)
    roles = len(placement.actors) + len(placement.shards) + len(placement.learners)
    return roles * max(1, run.config.cpu_threads)
