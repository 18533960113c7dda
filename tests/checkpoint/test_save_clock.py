"""Whole checkpoints come by steps and by minutes, each step once."""

import pytest

from speedyzero.checkpoint.save_clock import SaveClock
from speedyzero.config import CheckpointConfig
from tests.clock import Clock


def due_steps(config: CheckpointConfig, *, steps: int, step_s: float, begin: int = -1) -> list[int]:
    clock = Clock()
    saves = SaveClock(config, step=begin, clock=clock)
    found = []
    for step in range(max(0, begin), steps + 1):
        if saves.due(step):
            found.append(step)
            saves.saved(step)
        clock.now_s += step_s
    return found


@pytest.mark.parametrize(
    ("config", "step_s", "expected"),
    [
        (CheckpointConfig(interval_minutes=0, interval_train_steps=4), 1.0, [4, 8, 12]),
        (CheckpointConfig(interval_minutes=0.1), 2.0, [3, 6, 9, 12]),
        (CheckpointConfig(interval_minutes=0.1, interval_train_steps=4), 2.0, [3, 4, 7, 8, 11, 12]),
        (CheckpointConfig(interval_minutes=0), 1e9, []),
        (CheckpointConfig(interval_minutes=0.1, interval_train_steps=4, keep_last=0), 2.0, []),
    ],
)
def test_intervals(config, step_s, expected):
    assert due_steps(config, steps=13, step_s=step_s) == expected


def test_a_resumed_run_does_not_save_what_it_came_from():
    config = CheckpointConfig(interval_minutes=0, interval_train_steps=4)
    assert due_steps(config, steps=12, step_s=1.0, begin=8) == [12]
