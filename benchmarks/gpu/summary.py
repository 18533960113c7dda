"""What a run of the suite showed, beside the budgets of the design's performance page: the table that is printed last.

A budget is only held against what was measured. What was not is named with the reason; a rehearsal meets no budget.
"""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.common import RESULTS, commit
from benchmarks.gpu.stages import STAGES

RECORD_NAME = "gpu_suite.jsonl"
EXIT_NOTHING_RUN = 2  # of the suite: no GPU, or no torch
FLOP_PER_SEARCH = 2 * 606e6  # EfficientZero's network, 18 actions, 50 simulations
FLOP_PER_SAMPLE = 2 * 1445e6  # of the learner


@dataclass(frozen=True)
class Row:
    """One budget."""

    subject: str
    stage: str
    find: Callable[[dict[str, Any]], float]  # in the stage's results; KeyError where it was not measured
    goals: tuple[float, ...]  # to be met, then to be beaten
    unit: str
    is_share: bool = False
    is_ceiling: bool = False  # smaller is better


def _search(batch: int) -> Callable[[dict[str, Any]], float]:
    return lambda results: max(mode["searches_per_s"] for mode in results["batches"][f"B={batch} A=18"].values())


def _tree_share(results: dict[str, Any]) -> float:
    return results["shares"]["B=2048 A=18"]["tree_share"]


def _learner(mode: str) -> Callable[[dict[str, Any]], float]:
    return lambda results: results["batches"]["B=2048"][mode]["samples_per_s"]


def _best_learner(results: dict[str, Any]) -> float:
    """Of all modes that are the same algorithm."""
    modes = results["batches"]["B=2048"]
    return max(found["samples_per_s"] for name, found in modes.items() if "folded" not in name and "times" in found)


def _gather(results: dict[str, Any]) -> float:
    return results["batches"]["B=2048"]["bf16 padded to 16, augmented"]["share_of_copy"]


ROWS = (
    Row("search, B = 2048", "search_speed", _search(2048), (60_000, 100_000, 150_000), "searches/s"),
    Row("search, B = 4096", "search_speed", _search(4096), (60_000, 100_000, 150_000), "searches/s"),
    Row("tree kernels' share of it", "search_speed", _tree_share, (0.15,), "", is_share=True, is_ceiling=True),
    Row("learner, batch 2048, eager", "learner", _learner("eager"), (20_000, 30_000, 49_000), "samples/s"),
    Row("learner, batch 2048, graph", "learner", _learner("graphed"), (20_000, 30_000, 49_000), "samples/s"),
    Row("learner, batch 2048, best", "learner", _best_learner, (20_000, 30_000, 49_000), "samples/s"),
    Row("gather, share of a copy", "gather", _gather, (0.6,), "", is_share=True),
    Row("learner busy, Pong", "pong", lambda r: r["shares"]["learner-0"]["busy"], (0.8,), "", is_share=True),
    Row("atari100k at that rate", "pong", lambda r: r["projected_minutes"], (35, 25), "min", is_ceiling=True),
)


def about(*, budget_s: float, commit_named: str) -> dict[str, Any]:
    """When and of what the report is."""
    return {
        "benchmark": "gpu_suite",
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "commit": commit_named or commit(),
        "budget_s": budget_s,
    }


def table(report: dict[str, Any]) -> str:
    """All that a reader wants to know at once."""
    stages = {stage["name"]: stage for stage in report["stages"]}
    lines = ["", *_heading(report, stages), "", f"{'stage':16}{'ended':12}{'s':>6}  {'wanted':32}seen"]
    lines += [_stage_line(stage) for stage in stages.values()]
    lines += ["", f"{'budget':28}{'measured':>16}  {'goals':28}verdict"]
    lines += [_line(row, stages.get(row.stage), is_rehearsal=report["rehearsal"]) for row in ROWS]
    lines += ["", verdict(report)]
    label = "REHEARSAL " if report["rehearsal"] else ""
    return "\n".join(f"{label}{line}".rstrip() for line in lines)


def _stage_line(stage: dict[str, Any]) -> str:
    """What was to be seen, and what was; where it did not end well, why."""
    wanted = next((one.wanted for one in STAGES if one.name == stage["name"]), "")
    seen = "; ".join(filter(None, (stage["reason"], stage["results"].get("seen"))))
    return f"{stage['name']:16}{stage['status']:12}{stage['seconds']:>6.1f}  {wanted:32}{seen[:140]}"


def _heading(report: dict[str, Any], stages: dict[str, Any]) -> list[str]:
    found = stages.get("environment", {}).get("results", {})
    gpu, versions = found.get("gpu", {}), found.get("versions", {})
    lines = [
        f"gpu_suite, {report['time']}, commit {report['commit']}, budget {report['budget_s']:.0f} s",
        f"{gpu.get('name', 'no GPU')}, driver {gpu.get('driver', '?')}, torch {versions.get('torch')}, "
        f"triton {versions.get('triton')}, {found.get('machine', {}).get('cores', '?')} cores",
    ]
    if "copy" in found and "matrix" in found:
        copied, product = found["copy"]["gb_per_s"], found["matrix"]["tflop_per_s"]
        lines.append(f"ceilings: copy {copied:.0f} GB/s, bf16 product {product:.1f} TFLOP/s")
        lines += _floors(stages, product)
    if not found.get("forked", {"works": True})["works"]:
        lines.append(f"A FORKED PROCESS CANNOT USE THE CARD, and so no run can: {found['forked']['why']}")
    return lines


def _floors(stages: dict[str, Any], tflop_per_s: float) -> list[str]:
    """How far from the arithmetic's floor."""
    lines = []
    for row, flop in ((ROWS[0], FLOP_PER_SEARCH), (ROWS[5], FLOP_PER_SAMPLE)):
        measured = _measured(row, stages.get(row.stage))
        if measured is not None:
            share = measured * flop / (tflop_per_s * 1e12)
            lines.append(f"{row.subject}: {share:.1%} of the product's rate by its useful arithmetic")
    return lines


def _line(row: Row, stage: dict[str, Any] | None, *, is_rehearsal: bool) -> str:
    measured = _measured(row, stage)
    goals = ", ".join(_figure(row, goal) for goal in row.goals)
    sign = "<=" if row.is_ceiling else ">="
    if measured is None:
        why = f"{row.stage} did not run" if stage is None else f"{row.stage} {stage['status']} {stage['reason'][:80]}"
        return f"{row.subject:28}{'not measured':>16}  {sign} {goals:25}{why.strip()}"
    if is_rehearsal:
        word = "a rehearsal"
    else:
        met = sum(measured <= goal if row.is_ceiling else measured >= goal for goal in row.goals)
        word = f"meets {met} of {len(row.goals)}" if met else "NOT MET"
    return f"{row.subject:28}{_figure(row, measured) + ' ' + row.unit:>16}  {sign} {goals:25}{word}"


def _measured(row: Row, stage: dict[str, Any] | None) -> float | None:
    """None where the stage does not have it."""
    if stage is None:
        return None
    try:
        return float(row.find(stage["results"]))
    except (KeyError, TypeError, ValueError):
        return None


def _figure(row: Row, number: float) -> str:
    return f"{number:.1%}" if row.is_share else f"{number:,.0f}"


def verdict(report: dict[str, Any]) -> str:
    if _has_no_gpu(report):
        return "no GPU: nothing was run"
    if _ran_nothing(report):
        return f"nothing was run: {report['stages'][0]['reason']}"
    failed = [stage["name"] for stage in report["stages"] if stage["is_failure"]]
    skipped = [stage["name"] for stage in report["stages"] if stage["status"] == "skipped"]
    parts = [f"FAILED: {', '.join(failed)}" if failed else "every correctness stage that ran ended well"]
    if skipped:
        parts.append(f"skipped: {', '.join(skipped)}")
    return "; ".join(parts)


def exit_code(report: dict[str, Any]) -> int:
    if _has_no_gpu(report) or _ran_nothing(report):
        return EXIT_NOTHING_RUN
    return int(any(stage["is_failure"] for stage in report["stages"]))


def _has_no_gpu(report: dict[str, Any]) -> bool:
    return any(stage["status"] == "no gpu" for stage in report["stages"])


def _ran_nothing(report: dict[str, Any]) -> bool:
    """As where this python has no torch."""
    return all(stage["status"] == "skipped" for stage in report["stages"])


def record(report: dict[str, Any]) -> Path:
    """Append the report as one line to the results. Raises ValueError for a rehearsal."""
    if report["rehearsal"]:
        raise ValueError("a rehearsal is never recorded")
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / RECORD_NAME
    with path.open("a") as file:
        file.write(json.dumps(report) + "\n")
    return path
