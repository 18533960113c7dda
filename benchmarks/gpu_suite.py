"""Everything worth knowing about this code on a GPU, in nine minutes and one command, from a plain checkout:

    python3 benchmarks/gpu_suite.py --budget-s 540 --out DIR                  (make gpu-check)
    python3 benchmarks/gpu_suite.py --cpu-rehearsal --budget-s 540 --out DIR  (make gpu-rehearsal)

Stages run in the order of `gpu/stages.py`, each as a process with its share of the time; a stage whose package is
missing is skipped by name. DIR/gpu_suite.json holds all that is known after every stage, gpu_suite.log what the stages
said, summary.txt the table that is printed last. Exit code 1: a correctness stage did not end well; 2: there is
no GPU, or nothing to run it with.

A rehearsal tries the suite itself on the CPU, with tiny sizes and Triton's interpreter. Its figures mean nothing; every
line of it says so, and it is never recorded.
"""

import argparse
import importlib
import json
import signal
import sys
import types
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def _claim_names() -> None:
    """Have `benchmarks` and `tests` mean this checkout's folders, whatever packages of such names are installed."""
    sys.path.insert(0, str(ROOT))
    for name in ("benchmarks", "tests"):
        package = types.ModuleType(name)
        package.__path__ = [str(ROOT / name)]
        sys.modules[name] = package


def main(words: Sequence[str] | None = None) -> int:
    arguments = _parse(words)
    if arguments.stage:
        return run_one(arguments)
    from benchmarks.gpu import summary
    from benchmarks.gpu.runner import JSON_NAME, run_stages
    from benchmarks.gpu.stages import STAGES, stage_named

    out = arguments.out.resolve()
    try:
        if arguments.summarise:
            return finish(json.loads(arguments.summarise.read_text()), record=arguments.record)
        stages = [stage_named(name) for name in arguments.only] or list(STAGES)
        out.mkdir(parents=True, exist_ok=True)
    except (ValueError, OSError) as error:
        print(f"gpu_suite: {error}", file=sys.stderr)
        return summary.EXIT_NOTHING_RUN
    for old in (JSON_NAME, "gpu_suite.log", "summary.txt"):
        (out / old).unlink(missing_ok=True)
    about = summary.about(budget_s=arguments.budget_s, commit_named=arguments.commit)
    run_stages(stages, out=out, budget_s=arguments.budget_s, is_rehearsal=arguments.cpu_rehearsal, about=about)
    report = json.loads((out / JSON_NAME).read_text())
    code = finish(report, record=arguments.record)
    (out / "summary.txt").write_text(summary.table(report) + "\n")
    return code


def finish(report: dict, *, record: bool) -> int:
    """Print the summary, record it where asked to, and give the exit code."""
    from benchmarks.gpu import summary

    print(summary.table(report), flush=True)
    code = summary.exit_code(report)
    if record and code != summary.EXIT_NOTHING_RUN:
        print(f"recorded in {summary.record(report)}")
    return code


def run_one(arguments: argparse.Namespace) -> int:
    """One stage, in this process. Its results go into --result, or are printed."""
    from benchmarks.gpu.context import Context, NoGpu, Skip
    from benchmarks.gpu.json_file import plain
    from benchmarks.gpu.runner import EXIT_NO_GPU, EXIT_SKIPPED
    from benchmarks.gpu.stages import stage_named

    try:
        stage = importlib.import_module(stage_named(arguments.stage).module_name)
        arguments.out.mkdir(parents=True, exist_ok=True)
        context = Context.of(
            out=arguments.out.resolve(),
            is_rehearsal=arguments.cpu_rehearsal,
            limit_s=arguments.limit_s,
            result_path=arguments.result,
        )
        context.keep(**stage.run(context))
    except (Skip, NoGpu) as reason:
        print(reason)
        return EXIT_SKIPPED if isinstance(reason, Skip) else EXIT_NO_GPU
    if arguments.result is None:
        print(json.dumps(plain(context.results), indent=1))
    return 0


def _parse(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition(",")[0])
    parser.add_argument("--budget-s", type=float, default=540.0, help="seconds for all stages (default 540)")
    parser.add_argument("--out", type=Path, default=Path("build/gpu-check"), help="a folder (default build/gpu-check)")
    parser.add_argument("--record", action="store_true", help="append a line to benchmarks/results/gpu_suite.jsonl")
    parser.add_argument("--commit", default="", help="what the record is to name, where git is missing")
    parser.add_argument("--only", nargs="+", default=[], metavar="STAGE", help="these stages alone")
    parser.add_argument("--cpu-rehearsal", action="store_true", help="try the suite itself on the CPU")
    parser.add_argument("--summarise", type=Path, metavar="JSON", help="print an earlier run's summary; with --record")
    parser.add_argument("--stage", default="", help="run one stage in this process")
    parser.add_argument("--limit-s", type=float, default=540.0, help="of --stage: seconds after which it winds up")
    parser.add_argument("--result", type=Path, help="of --stage: where its results go")
    arguments = parser.parse_args(words)
    if arguments.record and arguments.cpu_rehearsal:
        parser.error("a rehearsal is never recorded")
    if arguments.budget_s <= 0:
        parser.error(f"--budget-s {arguments.budget_s}: must be above 0")
    return arguments


if __name__ in ("__main__", "__mp_main__"):  # the latter: a process that a stage has spawned
    _claim_names()
if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that a running stage is ended too
    sys.exit(main())
