"""`python -m speedyzero atari100k`: runs every game with every seed as a child process, then writes tables and plots.

    OUT/benchmark.json   games, seeds and settings
    OUT/runs/, OUT/output/, OUT/abandoned/   see `grid/folder.py`
    OUT/results.json     each run's score, protocol, time, hardware and commit; missing runs with reasons
    OUT/table.md         one row per game, the aggregates, missing runs
    OUT/aggregates.json, OUT/aggregates.png, OUT/profile.png

Repeated with the same OUT, it continues: finished runs are kept, others resume from their checkpoints.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from speedyzero.experiments.atari100k.outcome import GameOutcome, read_outcome
from speedyzero.experiments.atari100k.pictures import draw_aggregates, draw_profile
from speedyzero.experiments.atari100k.plan import Benchmark, plan_runs
from speedyzero.experiments.atari100k.standing import counted, shortfalls
from speedyzero.experiments.atari100k.summary import summarise
from speedyzero.experiments.atari100k.table import table_of
from speedyzero.experiments.grid.children import Ended
from speedyzero.experiments.grid.folder import GridFolder, RunsFailed
from speedyzero.experiments.grid.run import GridRun
from speedyzero.system.atomic_file import write_atomically, write_json

NOT_YET = "not run yet"
PLAN_FILE, RESULTS_FILE, TABLE_FILE, AGGREGATES_FILE = "benchmark.json", "results.json", "table.md", "aggregates.json"
PICTURES = {"profile.png": draw_profile, "aggregates.png": draw_aggregates}


class BenchmarkFolder:
    """A benchmark and the directory of its runs and results."""

    def __init__(self, benchmark: Benchmark, out: Path, *, jobs: int | None = None):
        """jobs: runs at a time; None: as many as the GPUs allow, one on the CPU.

        Raises ValueError for what cannot be run, and if `out` holds runs of other settings. Writes nothing.
        """
        self.benchmark, self.out = benchmark, out
        self.plan = plan_runs(benchmark)
        if jobs is None and self.plan.runs[0].config.gpus == 0:
            jobs = 1
        self._folder = GridFolder(self.plan.runs, out, inline=benchmark.inline, jobs=jobs, resumes=True)
        self._outcomes: dict[str, GameOutcome] = {}  # by the run's name
        self._check_mode()

    def carry_out(self) -> list[GameOutcome]:
        """Execute the unfinished runs, write the results and return the finished runs.

        Raises RunsFailed at the end if runs are missing, KeyboardInterrupt once interrupted children have ended, and
        ValueError if another process is using the directory.
        """
        with self._folder.locked() as lock:
            write_json(self.out / PLAN_FILE, self._plan_document())
            print(self._what(), flush=True)
            self._write_results()
            try:
                self._folder.carry_out(lock, ended=self._note)
            except KeyboardInterrupt:
                self._write_all()
                raise
            outcomes = self._write_all()
        self._raise_if_missing()
        return outcomes

    def _what(self) -> str:
        benchmark, config = self.benchmark, self.plan.runs[0].config
        device = f"{config.gpus} GPU each" if config.gpus else "the CPU"
        lines = [
            f"atari100k: {counted(len(benchmark.games), 'game')}, {counted(len(benchmark.seeds), 'seed')}, "
            f"preset {config.preset}, on {device}, {self._folder.jobs} at a time; results in {self.out}",
            *(f"{game} cannot be played here: {why}" for game, why in self.plan.refused.items()),
        ]
        return "\n".join(lines)

    def _plan_document(self) -> dict:
        benchmark = self.benchmark
        return {
            "games": benchmark.games,
            "seeds": benchmark.seeds,
            "preset": benchmark.preset,
            "gpus_per_run": self.plan.runs[0].config.gpus,
            "settings": self.plan.runs[0].settings,
            "inline": benchmark.inline,
        }

    def _check_mode(self) -> None:
        path = self.out / PLAN_FILE
        if path.is_file():
            mode = json.loads(path.read_bytes())["inline"]
            if mode != self.benchmark.inline:
                raise ValueError(f"{self.out} was begun with inline={mode}: continue so, or choose another --out")

    def _note(self, run: GridRun, ended: Ended) -> None:
        if run.name in self._folder.finished:
            outcome = self._outcome(run)
            what = f"score {outcome.score:.6g}, {outcome.human_normalised:.3f} human-normalised"
        else:
            what = f"FAILED, {self._folder.failed[run.name].reason}; see {self._folder.output_of(run)}"
        print(f"{self._folder.progress()}  {run.group}, seed {run.seed}: {what}, {ended.duration_s:.0f} s", flush=True)
        self._write_results()

    def _outcome(self, run: GridRun) -> GameOutcome:
        """The outcome of a finished run, read once."""
        if run.name not in self._outcomes:
            score = self._folder.finished[run.name]
            self._outcomes[run.name] = read_outcome(run, self._folder.run_dir(run), score)
        return self._outcomes[run.name]

    def _missing(self) -> dict[tuple[str, int], str]:
        """The reason for each requested game and seed without a score."""
        missing = {(game, seed): why for game, why in self.plan.refused.items() for seed in self.benchmark.seeds}
        for run in self.plan.runs:
            if run.name in self._folder.failed:
                missing[run.group, run.seed] = self._folder.failed[run.name].reason
            elif run.name not in self._folder.finished:
                missing[run.group, run.seed] = NOT_YET
        return missing

    def _write_results(self) -> list[GameOutcome]:
        outcomes = [self._outcome(run) for run in self._folder.runs if run.name in self._folder.finished]
        missing = self._missing()
        why_not = self._why_not(outcomes)
        document = {
            "is_the_benchmark": not why_not,
            "why_not": why_not,
            **self._plan_document(),
            "runs": [outcome.to_json() for outcome in outcomes],
            "missing": [{"game": game, "seed": seed, "reason": why} for (game, seed), why in missing.items()],
        }
        write_json(self.out / RESULTS_FILE, document)
        return outcomes

    def _write_all(self) -> list[GameOutcome]:
        """Write the results and, if there are any, table and plots."""
        outcomes = self._write_results()
        if outcomes:
            summary = summarise(outcomes, self._why_not(outcomes))
            write_json(self.out / AGGREGATES_FILE, summary.to_json())
            missing = {f"{game}, seed {seed}": why for (game, seed), why in self._missing().items()}
            table = table_of(self.benchmark.games, len(self.benchmark.seeds), outcomes, missing, summary)
            write_atomically(self.out / TABLE_FILE, table.encode())
            for name, draw in PICTURES.items():
                draw(summary, self.out / name)
            written = ", ".join((RESULTS_FILE, TABLE_FILE, AGGREGATES_FILE, *PICTURES))
            print(f"\n{table}\nwritten   {self.out}: {written}", flush=True)
        return outcomes

    def _why_not(self, outcomes: Sequence[GameOutcome]) -> list[str]:
        return shortfalls(self.plan, len(self.benchmark.seeds), outcomes)

    def _raise_if_missing(self) -> None:
        missing = self._missing()
        if missing:
            runs = len(self.benchmark.games) * len(self.benchmark.seeds)
            lines = [f"{game}, seed {seed}: {why}" for (game, seed), why in missing.items()]
            raise RunsFailed("\n".join([f"{len(missing)} of {runs} runs have no score:", *lines]))
