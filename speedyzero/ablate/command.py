"""`python -m speedyzero ablate`: every run of an ablation as a child, then a table and a picture.

    OUT/ablation.json    what is compared, and on what machine
    OUT/runs/<run>/      run directories; OUT/output/<run>.txt what they printed
    OUT/abandoned/       runs that did not end, moved aside when they were begun anew
    OUT/results.jsonl    one line a run: its scores, or that it failed
    OUT/table.md, OUT/curves.png

Carried out again with the same OUT, it goes on where it was: finished runs of the same settings are kept.
"""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Sequence
from pathlib import Path

from speedyzero.ablate.children import Ended, Job, run_jobs
from speedyzero.ablate.curves import draw_curves
from speedyzero.ablate.outcome import Outcome, is_finished, read_outcome
from speedyzero.ablate.plan import Ablation, PlannedRun, plan_runs
from speedyzero.ablate.table import table_of
from speedyzero.checkpoint.atomic_file import write_atomically, write_json
from speedyzero.checkpoint.writer_lock import WriterLock
from speedyzero.env.registry import check_game
from speedyzero.model.threads import threads_for
from speedyzero.placement import place
from speedyzero.resolve import visible_gpus

TRAIN = (sys.executable, "-m", "speedyzero")
SHOWN_LINES = 15


class RunsFailed(RuntimeError):
    """Some runs of an ablation did not end well; the others did, and are in its results."""


class AblationFolder:
    """An ablation with the directory that its runs and results lie in."""

    def __init__(self, ablation: Ablation, out: Path, *, jobs: int | None = None):
        """jobs: runs at a time; None: as many as fit.

        Raises ValueError for what cannot be run, and where `out` holds runs of other settings. Writes nothing.
        """
        self.ablation, self.out = ablation, out
        self.runs = plan_runs(ablation)
        self._slots = slots_for(self.runs, jobs or fitting_jobs(self.runs, inline=ablation.inline))
        self._failed: dict[str, int] = {}  # exit codes by the run's name
        self._check_mode()
        self._finished = {run.name for run in self.runs if is_finished(run, self.run_dir(run))}

    def run_dir(self, run: PlannedRun) -> Path:
        return self.out / "runs" / run.name

    def output_of(self, run: PlannedRun) -> Path:
        return self.out / "output" / f"{run.name}.txt"

    def carry_out(self) -> list[Outcome]:
        """Do what is left to do, and write what came of it.

        Raises RunsFailed at the end where runs failed, KeyboardInterrupt once interrupted children have ended, and
        ValueError where another ablation is at work here.
        """
        self.output_of(self.runs[0]).parent.mkdir(parents=True, exist_ok=True)
        with WriterLock(self.out / "lock", cargo=f"{self.out}") as lock:
            self._write_plan()
            left = [run for run in self.runs if run.name not in self._finished]
            if len(left) < len(self.runs):
                print(f"{len(self.runs) - len(left)} of {len(self.runs)} runs are finished already")
            by_name = {run.name: run for run in self.runs}
            run_jobs(
                [self._job(run) for run in left],
                slots=self._slots,
                descriptor=lock.descriptor,
                started=lambda job: self._move_aside(by_name[job.name]),
                ended=lambda ended: self._note(by_name[ended.job.name], ended),
            )
            outcomes = self._write_results()
        if self._failed:
            raise RunsFailed(self._failures())
        return outcomes

    def _check_mode(self) -> None:
        path = self.out / "ablation.json"
        if path.is_file():
            mode = json.loads(path.read_bytes())["inline"]
            if mode != self.ablation.inline:
                raise ValueError(f"{self.out} was begun with inline={mode}: go on with it, or choose another --out")

    def _write_plan(self) -> None:
        ablation = self.ablation
        content = {
            "game": self.runs[0].config.env.game,
            "preset": self.runs[0].config.preset,
            "settings": ablation.settings,
            "arms": {arm.name: arm.settings for arm in ablation.arms},
            "seeds": ablation.seeds,
            "inline": ablation.inline,
            "machine": {"system": platform.platform(), "cores": len(os.sched_getaffinity(0))},
        }
        write_json(self.out / "ablation.json", content)

    def _job(self, run: PlannedRun) -> Job:
        words = run.command(self.run_dir(run), inline=self.ablation.inline)
        return Job(run.name, (*TRAIN, *words), self.output_of(run))

    def _move_aside(self, run: PlannedRun) -> None:
        run_dir = self.run_dir(run)
        if not run_dir.exists():
            return
        folder = self.out / "abandoned"
        folder.mkdir(exist_ok=True)
        number = 1 + sum(1 for entry in folder.iterdir() if entry.name.startswith(f"{run.name}-"))
        os.rename(run_dir, folder / f"{run.name}-{number:03}")

    def _note(self, run: PlannedRun, ended: Ended) -> None:
        if ended.exit_code == 0 and is_finished(run, self.run_dir(run)):
            self._finished.add(run.name)
            what = f"score {read_outcome(run, self.run_dir(run)).final_score:.4g}"
        else:
            self._failed[run.name] = ended.exit_code
            what = f"FAILED with exit code {ended.exit_code}, see {self.output_of(run)}"
        done = len(self._finished) + len(self._failed)
        print(f"{done}/{len(self.runs)}  {run.arm}, seed {run.seed}: {what}, {ended.duration_s:.0f} s", flush=True)
        self._write_lines()

    def _write_lines(self) -> list[Outcome]:
        outcomes, lines = [], []
        for run in self.runs:
            if run.name in self._finished:
                outcomes.append(read_outcome(run, self.run_dir(run)))
                lines.append(outcomes[-1].to_json())
            elif run.name in self._failed:
                lines.append({"arm": run.arm, "seed": run.seed, "failed": self._failed[run.name]})
        write_atomically(self.out / "results.jsonl", "".join(json.dumps(line) + "\n" for line in lines).encode())
        return outcomes

    def _write_results(self) -> list[Outcome]:
        outcomes = self._write_lines()
        if outcomes:
            table = table_of(outcomes)
            write_atomically(self.out / "table.md", table.encode())
            draw_curves(outcomes, self.out / "curves.png", title=self.runs[0].config.env.game)
            print(f"\n{table}\nwritten   {self.out}/results.jsonl, table.md, curves.png")
        return outcomes

    def _failures(self) -> str:
        """Which runs failed, and the last words of the first."""
        first = next(run for run in self.runs if run.name in self._failed)
        words = self.output_of(first).read_text(errors="replace").splitlines()[-SHOWN_LINES:]
        names = ", ".join(f"{name} ({code})" for name, code in self._failed.items())
        return "\n".join([f"{len(self._failed)} of {len(self.runs)} runs failed: {names}; {first.name}:", *words])


def fitting_jobs(runs: Sequence[PlannedRun], *, inline: bool) -> int:
    """How many runs the machine's GPUs, or else its cores, have room for at a time; at least one."""
    gpus = max(run.config.gpus for run in runs)
    if gpus:
        return max(1, visible_gpus() // gpus)
    return max(1, len(os.sched_getaffinity(0)) // max(_cores_of(run, inline=inline) for run in runs))


def _cores_of(run: PlannedRun, *, inline: bool) -> int:
    """A role process computes nearly all the time, with at least one thread."""
    if inline:
        return threads_for(run.config, check_game(run.config.env).spec)
    placement = place(run.config)
    roles = len(placement.actors) + len(placement.shards) + len(placement.learners)
    return roles * max(1, run.config.cpu_threads)


def slots_for(runs: Sequence[PlannedRun], jobs: int) -> list[dict[str, str]]:
    """The environment of each run beside others: GPUs of its own, where runs use any.

    Raises ValueError where there are not enough.
    """
    most = max(run.config.gpus for run in runs)
    if most == 0:
        return [{} for _ in range(jobs)]
    known = os.environ.get("CUDA_VISIBLE_DEVICES")
    devices = known.split(",") if known else [f"{number}" for number in range(visible_gpus())]
    if jobs * most > len(devices):
        raise ValueError(f"--jobs {jobs} with {most} GPUs each: {len(devices)} visible here")
    return [{"CUDA_VISIBLE_DEVICES": ",".join(devices[slot * most : (slot + 1) * most])} for slot in range(jobs)]
