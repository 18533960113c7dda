"""Critical paths worked by hand, times in ns."""

import numpy as np
import pytest

from speedyzero.profile.critical_path import HAND_OVER, critical_path
from speedyzero.profile.shares import BUSY, Interval, Window, intervals, shares_in_turns, shares_of
from speedyzero.topology.records import SPAN_NAMES
from speedyzero.tracing.trace import Track

WAITS_ON = {"a": {"wait_space": ["b"]}, "b": {"wait_input": ["a"]}}
MS = 1_000_000


def path(window_ns: int, last: str, waits_on=WAITS_ON, **kinds: list[tuple[int, int, str]]):
    found = {name: [Interval(*one) for one in intervals] for name, intervals in kinds.items()}
    return critical_path(found, waits_on, Window(0, window_ns), last=last)


def test_waits_are_followed_to_whoever_works():
    # b works 60..100 on what a made until 60; a began that at 10, having waited for b, who worked 0..10.
    found = path(
        100,
        "b",
        a=[(0, 10, "wait_space"), (10, 60, BUSY), (60, 100, "wait_space")],
        b=[(0, 10, BUSY), (10, 60, "wait_input"), (60, 100, BUSY)],
    )
    assert found.seconds == {"b": 50e-9, "a": 50e-9}


def test_a_busy_process_that_nobody_waits_for_is_not_on_it():
    found = path(100, "b", a=[(0, 100, BUSY)], b=[(0, 100, BUSY)])
    assert found.seconds == {"b": 100e-9}


def test_one_that_is_always_waited_for_has_all_of_it():
    found = path(100, "b", a=[(0, 100, BUSY)], b=[(0, 40, "wait_input"), (40, 70, BUSY), (70, 100, "wait_input")])
    assert found.share("a") == 1.0


def test_where_all_wait_nobody_has_it():
    found = path(
        100,
        "b",
        a=[(0, 50, BUSY), (50, 100, "wait_space")],
        b=[(0, 30, BUSY), (30, 55, "wait_input"), (55, 100, BUSY)],
    )
    assert found.seconds == {"b": 45e-9, HAND_OVER: 5e-9, "a": 50e-9}


def test_of_several_the_one_that_is_at_work_is_waited_for():
    waits_on = {"b": {"wait_input": ["idle", "a"]}, "idle": {}, "a": {}}
    found = path(10, "b", waits_on, a=[(0, 10, BUSY)], idle=[(0, 10, "wait_pacing")], b=[(0, 10, "wait_input")])
    assert found.seconds == {"a": 10e-9}


def test_unnamed_time_counts_as_work_and_a_wait_for_nobody_as_none():
    found = path(10, "b", {"b": {}}, b=[(2, 4, BUSY), (6, 8, "wait_group")])
    assert found.seconds == {"b": 8e-9, HAND_OVER: 2e-9}


def track(*spans: tuple[str, int, int], covered=((0, 100 * MS),), name="learner-0") -> Track:
    """spans: name, start and end in ms."""
    table = [[SPAN_NAMES.index(kind), start * MS, (end - start) * MS, 0] for kind, start, end in spans]
    return Track(name=name, spans=np.array(table, np.int64).reshape(-1, 4), covered=covered)


def test_shares_come_from_the_lowest_level_and_what_is_not_there_is_unaccounted():
    one = track(("step", 0, 40), ("update", 5, 30), ("loss", 5, 10), ("wait_input", 40, 70), ("save", 72, 90))
    shares = shares_of(one, Window(0, 100 * MS))
    assert (shares.wall_s, shares.busy_s, shares.waits_s) == (0.1, 0.058, {"wait_input": 0.03})
    assert shares.unaccounted_s == pytest.approx(0.012)
    cut = shares_of(one, Window(20 * MS, 80 * MS))
    assert (cut.wall_s, cut.busy_s) == (0.06, pytest.approx(0.028))
    absent = shares_of(track(("step", 0, 40), covered=[(0, 40 * MS)]), Window(0, 100 * MS))
    assert absent.wall_s == 0.04 and absent.unaccounted_s == 0.0


def test_the_group_s_wait_is_cut_out_of_the_step():
    one = track(("step", 0, 50), ("gather_frames", 0, 10), ("wait_group", 10, 25), ("update", 25, 50))
    kinds = [(part.kind, part.start_ns // MS, part.end_ns // MS) for part in intervals(one, Window(0, 50 * MS))]
    assert kinds == [(BUSY, 0, 10), ("wait_group", 10, 25), (BUSY, 25, 50)]


def test_of_turns_the_gap_between_them_is_unaccounted():
    actor = track(("step", 0, 30), ("step", 70, 90), name="actor-0")
    learner = track(("step", 30, 69), name="learner-0")
    shares = shares_in_turns([actor, learner], Window(0, 100 * MS))
    assert shares.busy_s == pytest.approx(0.089) and shares.unaccounted_s == pytest.approx(0.011)
