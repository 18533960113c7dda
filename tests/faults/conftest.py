"""The marker that ties a fault test to rows of the contract; runs to be damaged, and what a command would train."""

from pathlib import Path

import pytest

from tests.faults.ring_contract import CONTRACT
from tests.faults.small_run import make_small_run


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "contract(*rows): rows of the reliability contract that the test would falsify")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        for mark in item.iter_markers("contract"):
            assert mark.args and set(mark.args) <= set(CONTRACT), f"{item.nodeid}: rows {mark.args}"


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a small run, to be copied and never changed."""
    path = tmp_path_factory.mktemp("small") / "made"
    make_small_run(path)
    return path


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list:
    """(config, resume) of each run that `train` would start."""
    runs: list = []
    monkeypatch.setattr(
        "speedyzero.supervisor.arguments._train",
        lambda config, server, *, resume, profile: runs.append((config, resume)),
    )
    return runs
