"""`python -m speedyzero ablate`: executes every run of an ablation as a child process, then writes a table and a plot.

    OUT/ablation.json    arms, seeds, settings and machine
    OUT/runs/, OUT/output/, OUT/abandoned/   see `grid/folder.py`
    OUT/results.jsonl    one line per run: its scores, or that it failed
    OUT/table.md, OUT/curves.png

Repeated with the same OUT, it continues: finished runs of the same settings are kept.
"""

import json
import os
import platform
from dataclasses import asdict
from pathlib import Path

from speedyzero.experiments.ablate.outcome import AblationOutcome, read_outcome, table_of
from speedyzero.experiments.ablate.plan import Ablation, plan_runs
from speedyzero.experiments.grid.folder import GridFolder
from speedyzero.experiments.grid.run import GridRun
from speedyzero.report.figures import draw_scores
from speedyzero.report.groups import COLOURS, Group
from speedyzero.report.reading import RunRecord, read_run
from speedyzero.system.atomic_file import write_atomically


class AblationFolder(GridFolder[AblationOutcome]):
    """An ablation and the directory of its runs and results."""

    plan_file = "ablation.json"
    resumes = False  # so that a curve has one clock and each train step once

    def __init__(self, ablation: Ablation, out: Path, *, jobs: int | None = None):
        """As `GridFolder`."""
        self.ablation = ablation
        super().__init__(plan_runs(ablation), out, inline=ablation.inline, jobs=jobs)

    def plan_document(self) -> dict:
        ablation = self.ablation
        return {
            "game": self.runs[0].config.env.game,
            "preset": self.runs[0].config.preset,
            "settings": ablation.settings,
            "arms": {arm.name: arm.settings for arm in ablation.arms},
            "seeds": ablation.seeds,
            "inline": ablation.inline,
            "machine": {"system": platform.platform(), "cores": len(os.sched_getaffinity(0))},
        }

    def read(self, run: GridRun, score: dict) -> AblationOutcome:
        return read_outcome(run, self.run_dir(run))

    def describe(self, outcome: AblationOutcome) -> str:
        return f"score {outcome.final_score:.4g}"

    def write_results(self, *, at_end: bool) -> None:
        lines = []
        for run in self.runs:
            if (outcome := self.outcome(run)) is not None:
                lines.append(asdict(outcome))
            elif run.name in self.failed:
                lines.append({"arm": run.group, "seed": run.seed, "failed": self.failed[run.name].exit_code})
        write_atomically(self.out / "results.jsonl", "".join(json.dumps(line) + "\n" for line in lines).encode())
        outcomes = self.outcomes()
        if at_end and outcomes:
            table = table_of(outcomes)
            write_atomically(self.out / "table.md", table.encode())
            write_atomically(self.out / "curves.png", draw_scores(self.runs[0].config.env.game, self._groups()).png)
            print(f"\n{table}\nwritten   {self.out}/results.jsonl, table.md, curves.png")

    def _groups(self) -> list[Group]:
        """The finished runs of each arm."""
        arms: dict[str, list[RunRecord]] = {}
        for run in self.runs:
            if self.outcome(run) is not None:
                arms.setdefault(run.group, []).append(read_run(self.run_dir(run)))
        return [Group(arm, COLOURS[i % len(COLOURS)], tuple(runs)) for i, (arm, runs) in enumerate(arms.items())]
