"""The marker that ties a fault test to rows of the contract."""

from __future__ import annotations

import pytest

from tests.faults.ring_contract import CONTRACT


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "contract(*rows): rows of the reliability contract that the test would falsify")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        for mark in item.iter_markers("contract"):
            assert mark.args and set(mark.args) <= set(CONTRACT), f"{item.nodeid}: rows {mark.args}"
