"""Shares of time from cumulative counters, by hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from speedyzero.report.reading import read_run
from speedyzero.report.utilisation import KINDS, shares_of
from tests.report.run_dirs import line, make_run


def run_with(tmp_path: Path, counters: dict[str, list[float]], times_s: list[float]):
    run_dir = make_run(tmp_path / "run", processes=(), evaluated=False)
    with (run_dir / "metrics.jsonl").open("w") as file:
        for i, time_s in enumerate(times_s):
            for kind in KINDS:
                values = counters.get(kind, [0.0] * len(times_s))
                if i < len(values):
                    file.write(json.dumps(line(f"time/actor-0/{kind}_s", 0, values[i], time_s)) + "\n")
    return read_run(run_dir)


def test_shares_are_growth_over_time(tmp_path: Path):
    run = run_with(tmp_path, {"busy": [4.0, 9.0, 10.0], "wait_pacing": [1.0, 6.0, 10.0]}, [10.0, 20.0, 25.0])
    shares = shares_of(run)["actor-0"]
    np.testing.assert_allclose(shares.edges_s, [0, 10, 20, 25])
    np.testing.assert_allclose(shares.share[0], [0.4, 0.5, 0.2])
    np.testing.assert_allclose(shares.share[1], [0.1, 0.5, 0.8])
    np.testing.assert_allclose(shares.overall[:2], [10 / 25, 10 / 25])


def test_a_process_that_was_replaced_counts_anew(tmp_path: Path):
    run = run_with(tmp_path, {"busy": [8.0, 2.0], "wait_input": [1.0, 3.0]}, [10.0, 20.0])
    shares = shares_of(run)["actor-0"].share
    np.testing.assert_allclose(shares[:, 1], [0.2, 0.0, 0.3, 0.0, 0.0])


def test_more_than_all_time_is_never_shown(tmp_path: Path):
    """A step that was long is booked when it ends; the clock is read a little after the counters."""
    run = run_with(tmp_path, {"busy": [12.0], "wait_input": [4.0]}, [10.0])
    np.testing.assert_allclose(shares_of(run)["actor-0"].share[:, 0], [0.75, 0, 0.25, 0, 0])


def test_a_line_that_is_still_being_written_is_left_for_later(tmp_path: Path):
    run = run_with(tmp_path, {"busy": [4.0, 8.0], "wait_group": [1.0]}, [10.0, 20.0])
    assert shares_of(run)["actor-0"].share.shape == (len(KINDS), 1)


def test_many_records_are_drawn_as_few_intervals_of_the_same_whole(tmp_path: Path):
    times_s = [float(i) for i in range(1, 500)]
    run = run_with(tmp_path, {"busy": [0.3 * time_s for time_s in times_s]}, times_s)
    shares = shares_of(run)["actor-0"]
    assert shares.share.shape[1] <= 60
    np.testing.assert_allclose(shares.share[0], 0.3)
    assert shares.edges_s[-1] == 499.0


def test_one_process_has_no_shares(tmp_path: Path):
    assert shares_of(read_run(make_run(tmp_path / "run", processes=()))) == {}
