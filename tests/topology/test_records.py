"""Every metric that a role sends has a number to cross a ring by."""

import ast
from pathlib import Path

import pytest

import speedyzero
from speedyzero.topology.records import METRIC_NAMES

ROLES = ("actor", "reanalyze", "learner")
PREFIXES = ("actor/", "reanalyzer/", "learner/")


def names_in(package: str) -> set[str]:
    """String constants of a package's sources that are a metric's name, or are given to a MetricRecord."""
    found = set()
    for path in Path(speedyzero.__file__).parent.joinpath(package).glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith(PREFIXES):
                found.add(node.value)
            elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == "MetricRecord":
                name = node.args[0]
                # Anything but a constant is the key of a table of figures, whose keys are constants.
                assert isinstance(name, ast.Constant) or getattr(name, "id", "") == "name", ast.unparse(node)
                if isinstance(name, ast.Constant):
                    found.add(name.value)
    return found


@pytest.mark.parametrize("package", ROLES)
def test_every_metric_sent_has_a_place(package):
    sent = names_in(package)
    assert sent and sent <= set(METRIC_NAMES)


def test_every_place_is_used_and_named_once():
    assert set(METRIC_NAMES) == set().union(*map(names_in, ROLES))
    assert len(set(METRIC_NAMES)) == len(METRIC_NAMES)
