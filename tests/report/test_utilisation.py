"""Shares of time from cumulative counters, by hand."""

from pathlib import Path

import numpy as np
import pytest

from speedyzero.observe.metrics import MetricSeries
from speedyzero.report.groups import Group
from speedyzero.report.reading import read_run
from speedyzero.report.utilisation import KINDS, shares_of, utilisation
from tests.report.run_dirs import make_run


@pytest.mark.parametrize(
    ("counters", "times_s", "shares"),
    [
        # A part of the time is not accounted for.
        ({"busy": [4, 9, 10], "wait_pacing": [1, 6, 10]}, [10, 20, 25], [0.4, 0.4, 0, 0, 0]),
        # The process was replaced after 10 s and counts anew.
        ({"busy": [8, 2], "wait_input": [1, 3]}, [10, 20], [0.5, 0, 0.2, 0, 0]),
        # The clock is read a little after the counters, and no more than all time is ever shown.
        ({"busy": [12], "wait_input": [4]}, [10], [0.75, 0, 0.25, 0, 0]),
        # The last records are still being written, or the first.
        ({"busy": [4, 9], "wait_group": [1]}, [10, 20], [0.4, 0, 0, 0, 0.1]),
        ({"busy": [4], "wait_group": []}, [10], [0, 0, 0, 0, 0]),
    ],
)
def test_shares_are_growth_over_time(tmp_path: Path, counters: dict, times_s: list[float], shares: list[float]):
    run = read_run(make_run(tmp_path / "run", processes=(), evaluated=False))
    for kind in KINDS:
        values = np.array(counters.get(kind, np.zeros(len(times_s))), np.float64)
        series = MetricSeries(np.zeros(len(values), np.int64), values, np.array(times_s[: len(values)]))
        run.metrics[f"time/actor-0/{kind}_s"] = series
    np.testing.assert_allclose(shares_of(run)["actor-0"], shares)


def test_groups_have_the_mean_of_their_seeds(tmp_path: Path):
    inline, one = make_run(tmp_path / "inline", processes=()), make_run(tmp_path / "one", processes=("actor-0",))
    runs = (read_run(inline), read_run(one), read_run(one))
    del runs[2].metrics["time/actor-0/wait_group_s"]  # that run's shares are 0
    found = utilisation([Group("a", "", runs), Group("b", "", runs[:1])])
    assert list(found) == ["a: actor-0"]
    np.testing.assert_allclose(found["a: actor-0"], [0.25, 0.125, 0.06, 0, 0])
    assert list(utilisation([Group("a", "", runs)])) == ["actor-0"]
