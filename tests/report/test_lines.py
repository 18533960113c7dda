"""Curves of runs and of groups of seeds, by hand."""

from pathlib import Path

import numpy as np
import pytest

from speedyzero.evaluate.result import bootstrap_ci95
from speedyzero.report.groups import Group, group_runs
from speedyzero.report.lines import Line, combined, smoothed
from speedyzero.report.reading import read_run
from tests.report.run_dirs import make_run

NOTHING, POINT = Line(np.zeros(0), np.zeros(0)), Line(np.ones(1), np.ones(1))


def group_of(*run_dirs: Path) -> Group:
    (group,) = group_runs([read_run(run_dir) for run_dir in run_dirs])
    return group


def test_the_mean_of_seeds_reaches_as_far_as_all_of_them(tmp_path: Path):
    group = group_of(make_run(tmp_path / "a"), make_run(tmp_path / "b", seed=1))
    lines = {0: Line(np.array([0.0, 10.0]), np.array([0.0, 10.0])), 1: Line(np.array([2.0, 6.0]), np.array([4.0, 4.0]))}
    line = combined(group, lambda run: lines[run.config.seed])
    assert line is not None
    np.testing.assert_allclose(line.x, [2, 6])
    np.testing.assert_allclose(line.y, [3, 5])
    intervals = [bootstrap_ci95(np.array(pair)) for pair in ((2.0, 4.0), (6.0, 4.0))]
    np.testing.assert_allclose(np.transpose([line.low, line.high]), intervals)


def test_without_points_there_is_no_line(tmp_path: Path):
    alone = group_of(make_run(tmp_path / "a"))
    two = group_of(tmp_path / "a", make_run(tmp_path / "b", seed=1))
    assert combined(alone, lambda run: NOTHING) is None
    assert combined(alone, lambda run: POINT) is POINT
    assert combined(two, lambda run: Line(POINT.x + run.config.seed, POINT.y)) is None
    both = combined(two, lambda run: POINT)
    assert both is not None and both.x == [1] and both.y == [1]


@pytest.mark.parametrize("width", [1, 2, 3, 7])
def test_a_running_mean_by_a_slow_loop(width: int):
    values = np.random.default_rng(0).normal(size=20)
    expected = [values[max(0, i + 1 - width) : i + 1].mean() for i in range(20)]
    np.testing.assert_allclose(smoothed(Line(np.arange(20.0), values), width).y, expected)
