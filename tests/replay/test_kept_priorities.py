"""Priorities beside restored rows: where they were, whatever the length of the lanes is now."""

import numpy as np
import pytest

from speedyzero.replay.kept_priorities import kept_priorities, restore_priorities
from speedyzero.replay.shard import Shard
from tests.checkpoint.logged_shard import make_shard, random_tick
from tests.refusal import refusal


def filled(ticks: tuple[int, ...], *, rows: int) -> Shard:
    """Every actor's lanes written so often, each row's priority its step + lane / 10, its stamp its step."""
    shard, rng = make_shard(actors=len(ticks), rows=rows), np.random.default_rng(0)
    for actor, count in enumerate(ticks):
        for step in range(count):
            shard.append(random_tick(shard, rng, first=step == 0), actor=actor)
            for lane in shard.lanes_of(actor):
                shard.priority[lane, step % rows], shard.stamp[lane, step % rows] = step + lane / 10, step
    shard.largest_priority[0] = 77.0
    return shard


@pytest.mark.parametrize("ticks", [(0, 0), (5, 0), (5, 7), (24, 24), (60, 41), (100, 3)])
@pytest.mark.parametrize("rows_now", [16, 24, 40])
def test_each_position_has_its_own_again(ticks, rows_now):
    before, after = filled(ticks, rows=24), make_shard(actors=2, rows=rows_now)
    after.ticks[:] = ticks
    after.head[:] = before.head
    restore_priorities(after, kept_priorities(before), newest_version=50)
    for lane, head in enumerate(before.head.tolist()):
        for step in range(max(0, head - min(24, rows_now)), head):
            assert after.priority[lane, step % rows_now] == np.float32(step + lane / 10)
            assert after.stamp[lane, step % rows_now] == min(step, 50), "weights of step 50 are the newest there are"
    assert after.largest_priority[0] == 77.0


def test_those_of_other_lanes_are_refused():
    kept = kept_priorities(filled((5, 5), rows=24))
    assert "4 lanes" in refusal(restore_priorities, make_shard(actors=3), kept, newest_version=0)
