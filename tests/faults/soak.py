"""The reliability contract, tried in full: `make soak`, or `make soak ROWS="1 2 20"`.

Runs the fault suite with the contract's counts and prints its table: each promise, what is asked, what was reached,
pass or fail. A row fails where a test of it failed, a count was not reached, a time was longer than promised, or
nothing was reported. A line for each row goes to benchmarks/results/soak.jsonl. Exit code: 0 where no row failed.
`--latest` prints the table of the newest lines (`docs/results/contract.md` is its summary), and tries nothing.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from benchmarks.common import RESULTS, write_result
from tests.faults.ring_contract import CONTRACT

SUITE = Path(__file__).parent
LONGEST_TEST_S = 1800  # then it hangs
PACKAGES = ("torch", "numpy", "posix-ipc", "pytest")


@dataclass
class Outcomes:
    """What became of the tests of the chosen rows. A plugin of pytest."""

    chosen: frozenset[int]
    rows: dict[str, set[int]] = field(default_factory=dict)  # by test
    seconds: Counter[str] = field(default_factory=Counter)
    troubles: dict[str, str] = field(default_factory=dict)

    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        rows = {item.nodeid: {row for mark in item.iter_markers("contract") for row in mark.args} for item in items}
        config.hook.pytest_deselected(items=[item for item in items if not rows[item.nodeid] & self.chosen])
        items[:] = [item for item in items if rows[item.nodeid] & self.chosen]
        self.rows = {item.nodeid: rows[item.nodeid] & self.chosen for item in items}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.seconds[report.nodeid] += report.duration
        if report.outcome != "passed":
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else "see above"
            self.troubles[report.nodeid] = f"{report.outcome}: {reason}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", type=int, help="of the contract; default: all of them")
    parser.add_argument("--latest", action="store_true", help="print what was recorded last of each row, as Markdown")
    arguments = parser.parse_args()
    if arguments.latest:
        print("\n".join(recorded_table((RESULTS / "soak.jsonl").read_text().splitlines())))
        return 0
    unknown = set(arguments.rows) - set(CONTRACT)
    if unknown:
        parser.error(f"there are rows {min(CONTRACT)} to {max(CONTRACT)}, not {sorted(unknown)}")
    chosen = frozenset(arguments.rows or CONTRACT)
    os.environ["SOAK"] = "1"
    tests, told, started_s = Outcomes(chosen), [], time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["SOAK_TABLE"] = str(Path(folder) / "told.jsonl")
        options = ["-s", "-p", "no:cacheprovider", "-o", f"faulthandler_timeout={LONGEST_TEST_S}"]
        code = pytest.main([str(SUITE), *options], plugins=[tests])
        if Path(os.environ["SOAK_TABLE"]).exists():
            told = [json.loads(line) for line in Path(os.environ["SOAK_TABLE"]).read_text().splitlines()]
    rows = [judged(row, tests, told) for row in sorted(chosen)]
    for line in rows:
        path = write_result("soak", line, packages=PACKAGES)
    print("\n\n" + "\n".join(recorded_table(path.read_text().splitlines(), rows=chosen)))
    print(f"{time.monotonic() - started_s:.0f} s; written to {path}")
    return int(code != 0 or any(line["verdict"] == "FAIL" for line in rows))


def judged(row: int, tests: Outcomes, told: Sequence[dict]) -> dict:
    """One row of the table."""
    promise, figures = CONTRACT[row], [line for line in told if line["row"] == row]
    own = [test for test, rows in tests.rows.items() if row in rows]
    counts: Counter[str] = Counter()
    for line in figures:
        counts.update(line["counts"])
    worst_s = max((line["worst_s"] for line in figures if line["worst_s"] is not None), default=None)
    faults = [f"{test} {tests.troubles[test]}" for test in own if test in tests.troubles]
    if promise.asked:
        short = [f"{counts[name]} < {asked} {name}" for name, asked in promise.asked.items() if counts[name] < asked]
        faults += short if figures else ["nothing was reported"]
        if promise.limit_s is not None and worst_s is not None and worst_s > promise.limit_s:
            faults.append(f"{worst_s:.1f} s > {promise.limit_s:g} s")
    return {
        "row": row,
        "promise": promise.text,
        "asked": dict(promise.asked),
        "limit_s": promise.limit_s,
        "reached": dict(counts),
        "worst_s": worst_s,
        "figures": [line["figure"] for line in figures],
        "tests": {test: round(tests.seconds[test], 1) for test in own},
        "verdict": "FAIL" if faults else "pass",
        "why": "; ".join(faults),
    }


def recorded_table(lines: Sequence[str], *, rows: Collection[int] = CONTRACT) -> list[str]:
    """The newest line of each row, as a Markdown table."""
    newest = {line["results"]["row"]: line for line in map(json.loads, lines)}
    table = ["| row | promise | asked | reached | commit |", "|---|---|---|---|---|"]
    for row in sorted(rows):
        if row not in newest:
            table.append(f"| {row} | {CONTRACT[row].text} | | not tried in full yet | |")
            continue
        found, commit = newest[row]["results"], newest[row]["commit"]
        asked = [f"{count:,} {name}" for name, count in found["asked"].items()]
        asked += [f"at most {found['limit_s']:g} s"] if found["limit_s"] is not None else []
        figures = f"**{found['verdict']}**: " + "; ".join([*found["figures"], *filter(None, [found["why"]])])
        table.append(f"| {row} | {found['promise']} | {'; '.join(asked)} | {figures} | {commit} |")
    return table


if __name__ == "__main__":
    sys.exit(main())
