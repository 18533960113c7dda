"""`python -m speedyzero atari100k`: every game with every seed as a child process; tables and plots after each.

    OUT/benchmark.json   games, seeds and settings
    OUT/runs/, OUT/output/, OUT/abandoned/   see `grid/folder.py`
    OUT/results.json     each run's score, protocol, time, hardware and commit; missing runs with reasons
    OUT/table.md         one row per game, the aggregates, missing runs
    OUT/aggregates.json, OUT/aggregates.png, OUT/profile.png

Repeated with the same OUT, it continues: finished runs are kept, others resume from their checkpoints.
"""

from dataclasses import asdict
from pathlib import Path

from speedyzero.experiments.atari100k.outcome import GameOutcome, read_outcome
from speedyzero.experiments.atari100k.pictures import draw_aggregates, draw_profile
from speedyzero.experiments.atari100k.plan import Benchmark, plan_runs
from speedyzero.experiments.atari100k.standing import counted, shortfalls
from speedyzero.experiments.atari100k.summary import summarise
from speedyzero.experiments.atari100k.table import table_of
from speedyzero.experiments.grid.folder import GridFolder
from speedyzero.experiments.grid.run import GridRun
from speedyzero.system.atomic_file import write_atomically, write_json

RESULTS_FILE, TABLE_FILE, AGGREGATES_FILE = "results.json", "table.md", "aggregates.json"
PICTURES = {"profile.png": draw_profile, "aggregates.png": draw_aggregates}


class BenchmarkFolder(GridFolder[GameOutcome]):
    """A benchmark and the directory of its runs and results."""

    plan_file = "benchmark.json"
    resumes = True

    def __init__(self, benchmark: Benchmark, out: Path, *, jobs: int | None = None):
        """As `GridFolder`, but that CPU runs go one at a time unless `jobs` says otherwise."""
        self.benchmark, runs = benchmark, plan_runs(benchmark)
        self._gpus = runs[0].config.gpus
        super().__init__(runs, out, inline=benchmark.inline, jobs=jobs or (None if self._gpus else 1))

    def carry_out(self) -> list[GameOutcome]:
        benchmark = self.benchmark
        device = f"{self._gpus} GPU each" if self._gpus else "the CPU"
        print(
            f"atari100k: {counted(len(benchmark.games), 'game')}, {counted(len(benchmark.seeds), 'seed')}, "
            f"preset {benchmark.preset}, on {device}, {self.jobs} at a time; results in {self.out}",
            flush=True,
        )
        return super().carry_out()

    def plan_document(self) -> dict:
        benchmark = self.benchmark
        return {
            "games": benchmark.games,
            "seeds": benchmark.seeds,
            "preset": benchmark.preset,
            "gpus_per_run": self._gpus,
            "settings": self.runs[0].settings,
            "inline": benchmark.inline,
        }

    def read(self, run: GridRun, score: dict) -> GameOutcome:
        return read_outcome(run, self.run_dir(run), score)

    def describe(self, outcome: GameOutcome) -> str:
        return f"score {outcome.score:.6g}, {outcome.human_normalised:.3f} human-normalised"

    def write_results(self, *, at_end: bool) -> None:
        outcomes, missing, seeds = self.outcomes(), self.missing(), len(self.benchmark.seeds)
        why_not = shortfalls(self.runs[0].config, seeds, outcomes)
        document = {
            "is_the_benchmark": not why_not,
            "why_not": why_not,
            **self.plan_document(),
            "runs": [asdict(outcome) for outcome in outcomes],
            "missing": [{"game": game, "seed": seed, "reason": why} for (game, seed), why in missing.items()],
        }
        write_json(self.out / RESULTS_FILE, document)
        if outcomes:
            summary = summarise(outcomes, why_not)
            write_json(self.out / AGGREGATES_FILE, summary.to_json())
            reasons = {f"{game}, seed {seed}": why for (game, seed), why in missing.items()}
            table = table_of(self.benchmark.games, seeds, outcomes, reasons, summary)
            write_atomically(self.out / TABLE_FILE, table.encode())
            for name, draw in PICTURES.items():
                draw(summary, self.out / name)
            if at_end:
                written = ", ".join((RESULTS_FILE, TABLE_FILE, AGGREGATES_FILE, *PICTURES))
                print(f"\n{table}\nwritten   {self.out}: {written}", flush=True)
