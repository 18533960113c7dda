"""The list of planted bugs: every place is there, and a bug that no test notices is told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests import planted_bugs
from tests.planted_list import BUGS, Bug

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_every_bug_has_its_place_and_its_tests(bug):
    source = (ROOT / bug.file).read_text()
    assert source.count(bug.old) == 1 and bug.new != bug.old
    compile(source.replace(bug.old, bug.new), bug.file, "exec")
    assert bug.tests and all((ROOT / test.partition("::")[0]).exists() for test in bug.tests)


def test_names_are_different():
    assert len({bug.name for bug in BUGS}) == len(BUGS)


def test_a_bug_is_noticed_or_not(tmp_path, monkeypatch):
    (tmp_path / "double.py").write_text("def double(x):\n    return 2 * x\n")
    (tmp_path / "test_double.py").write_text(
        "from double import double\n\ndef test_double():\n    assert double(3) == 6\n"
    )
    monkeypatch.setattr(planted_bugs, "ROOT", tmp_path)
    bug = Bug("sum", "double.py", "2 * x", "x + 3", ("test_double.py",))
    assert planted_bugs.look(bug).noticed_by == ""
    assert planted_bugs.look(replace(bug, new="3 * x")).noticed_by == "test_double.py::test_double"
    with pytest.raises(RuntimeError, match="pytest ended with 4"):
        planted_bugs.look(replace(bug, tests=("test_other.py",)))
    with pytest.raises(ValueError, match="its place 0 times, must be once"):
        planted_bugs.look(replace(bug, old="4 * x"))
