"""`python -m speedyzero ablate`: executes every run of an ablation as a child process, then writes a table and a plot.

    OUT/ablation.json    arms, seeds, settings and machine
    OUT/runs/, OUT/output/, OUT/abandoned/   see `grid/folder.py`
    OUT/results.jsonl    one line per run: its scores, or that it failed
    OUT/table.md, OUT/curves.png

Repeated with the same OUT, it continues: finished runs of the same settings are kept.
"""

from __future__ import annotations

import json
import os
import platform
from pathlib import Path

from speedyzero.experiments.ablate.curves import draw_curves
from speedyzero.experiments.ablate.outcome import AblationOutcome, read_outcome
from speedyzero.experiments.ablate.plan import Ablation, plan_runs
from speedyzero.experiments.ablate.table import table_of
from speedyzero.experiments.grid.children import Ended
from speedyzero.experiments.grid.folder import GridFolder
from speedyzero.experiments.grid.run import GridRun
from speedyzero.system.atomic_file import write_atomically, write_json


class AblationFolder:
    """An ablation and the directory of its runs and results."""

    def __init__(self, ablation: Ablation, out: Path, *, jobs: int | None = None):
        """jobs: runs at a time; None: as many as fit.

        Raises ValueError for what cannot be run, and if `out` holds runs of other settings. Writes nothing.
        """
        self.ablation, self.out = ablation, out
        self.runs = plan_runs(ablation)
        # Unfinished runs restart, so that a curve has one clock and each train step once.
        self._folder = GridFolder(self.runs, out, inline=ablation.inline, jobs=jobs, resumes=False)
        self._check_mode()

    def run_dir(self, run: GridRun) -> Path:
        return self._folder.run_dir(run)

    def carry_out(self) -> list[AblationOutcome]:
        """Execute the unfinished runs and write the results.

        Raises RunsFailed at the end if runs failed, KeyboardInterrupt once interrupted children have ended, and
        ValueError if another process is using the directory.
        """
        with self._folder.locked() as lock:
            self._write_plan()
            self._folder.carry_out(lock, ended=self._note)
            outcomes = self._write_results()
        self._folder.raise_if_failed()
        return outcomes

    def _check_mode(self) -> None:
        path = self.out / "ablation.json"
        if path.is_file():
            mode = json.loads(path.read_bytes())["inline"]
            if mode != self.ablation.inline:
                raise ValueError(f"{self.out} was begun with inline={mode}: continue so, or choose another --out")

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

    def _note(self, run: GridRun, ended: Ended) -> None:
        folder = self._folder
        if run.name in folder.finished:
            what = f"score {read_outcome(run, self.run_dir(run)).final_score:.4g}"
        else:
            what = f"FAILED with exit code {ended.exit_code}, see {folder.output_of(run)}"
        print(f"{folder.progress()}  {run.group}, seed {run.seed}: {what}, {ended.duration_s:.0f} s", flush=True)
        self._write_lines()

    def _write_lines(self) -> list[AblationOutcome]:
        outcomes, lines = [], []
        for run in self.runs:
            if run.name in self._folder.finished:
                outcomes.append(read_outcome(run, self.run_dir(run)))
                lines.append(outcomes[-1].to_json())
            elif run.name in self._folder.failed:
                exit_code = self._folder.failed[run.name].exit_code
                lines.append({"arm": run.group, "seed": run.seed, "failed": exit_code})
        write_atomically(self.out / "results.jsonl", "".join(json.dumps(line) + "\n" for line in lines).encode())
        return outcomes

    def _write_results(self) -> list[AblationOutcome]:
        outcomes = self._write_lines()
        if outcomes:
            table = table_of(outcomes)
            write_atomically(self.out / "table.md", table.encode())
            draw_curves(outcomes, self.out / "curves.png", title=self.runs[0].config.env.game)
            print(f"\n{table}\nwritten   {self.out}/results.jsonl, table.md, curves.png")
        return outcomes
