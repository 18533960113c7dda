"""How the soak judges a row, without trying anything."""

import json

import pytest

from tests.faults.ring_contract import CONTRACT
from tests.faults.soak import Outcomes, judged, recorded_table

ROW, TEST = 7, "tests/faults/test_some.py::test_one"
ENOUGH = {"interrupted once": 10, "interrupted twice": 10}


def verdict(*told: dict, trouble: str = "") -> tuple[str, str]:
    tests = Outcomes(frozenset({ROW}), rows={TEST: {ROW}}, troubles={TEST: trouble} if trouble else {})
    line = judged(ROW, tests, told)
    return line["verdict"], line["why"]


def line(counts: dict[str, int], worst_s: float | None = None, *, row: int = ROW) -> dict:
    return {"row": row, "test": TEST, "figure": "seen", "counts": counts, "worst_s": worst_s}


def test_counts_add_up_over_tests_and_the_longest_time_counts():
    half = {name: 5 for name in ENOUGH}
    assert verdict(line(half, 3.0), line(half, 14.9), line({})) == ("pass", "")


@pytest.mark.parametrize(
    ("told", "trouble", "why"),
    [
        ((), "", "nothing was reported"),
        ((line(ENOUGH, row=8),), "", "nothing was reported"),
        ((line({"interrupted once": 10, "interrupted twice": 9}, 1.0),), "", "9 < 10 interrupted twice"),
        ((line(ENOUGH, 15.1),), "", "15.1 s > 15 s"),
        ((line(ENOUGH, 1.0),), "skipped: only root can mount a tmpfs", f"{TEST} skipped: only root can mount a tmpfs"),
    ],
)
def test_what_fails_a_row(told, trouble, why):
    assert verdict(*told, trouble=trouble) == ("FAIL", why)


def test_every_row_has_a_test(pytestconfig):
    """Read from the sources, so that it holds whatever part of the suite is run."""
    marks = set()
    for path in (pytestconfig.rootpath / "tests" / "faults").glob("test_*.py"):
        for text in path.read_text().split("@pytest.mark.contract(")[1:]:
            marks |= {int(row) for row in text.partition(")")[0].split(",") if row.strip().isdigit()}
    assert marks == set(CONTRACT) and all(promise.asked for promise in CONTRACT.values())


def test_the_newest_line_of_a_row_is_told():
    def line(verdict: str, figure: str, commit: str) -> str:
        results = {
            "row": 3, "promise": "P", "asked": {"kills": 1000}, "limit_s": 10, "verdict": verdict,
            "figures": [figure], "why": "",
        }  # fmt: skip
        return json.dumps({"results": results, "commit": commit})

    table = recorded_table([line("FAIL", "11 s", "abc"), line("pass", "9 s", "def")])
    assert table[1 + 3] == "| 3 | P | 1,000 kills; at most 10 s | **pass**: 9 s | def |"
    assert table[1 + 4].endswith("| not tried in full yet | |") and len(table) == 2 + len(CONTRACT)
