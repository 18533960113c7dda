"""Grids whose runs are made up at once, by `fake_train.py`."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from speedyzero.experiments.grid import folder

ROOT = Path(__file__).parents[2]


@pytest.fixture
def befall(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Sets what befalls runs, by their names; at first nothing."""
    fake = (sys.executable, str(ROOT / "tests/experiments/fake_train.py"))
    monkeypatch.setattr(folder, "PROGRAM", fake)
    monkeypatch.setattr(folder, "SCORE", (*fake, "score"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))

    def set_plan(**what: str) -> None:
        monkeypatch.setenv("FAKE_PLAN", json.dumps(what))

    set_plan()
    return set_plan


@pytest.fixture
def how(tmp_path: Path) -> Callable[[], dict[str, str]]:
    """What was last done with each run that has ended well."""
    return lambda: {path.parent.name: path.read_text() for path in (tmp_path / "runs").glob("*/how.txt")}
