"""When the ranks of a group save: at a step that rank 0 names, which all learn in its agreement, once."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from speedyzero.config import Config
from speedyzero.learner.group_saver import GroupSaver


@pytest.mark.parametrize(("rank", "size", "saved"), [(0, 1, [10, 20]), (0, 2, [10, 20]), (1, 2, [10, 20])])
def test_a_step_is_saved_once_by_all_ranks(rank, size, saved):
    """A rank that is interrupted at such a step comes by again without having trained: it would otherwise not leave."""
    config = Config()
    config = replace(config, checkpoint=replace(config.checkpoint, interval_train_steps=10))
    board = SimpleNamespace(counter=lambda *_: 0)
    process = SimpleNamespace(spec=SimpleNamespace(config=config), run_board=board)
    learner = SimpleNamespace(
        train_step=0, asks_to_save=False, is_to_save=False, group=SimpleNamespace(rank=rank, size=size)
    )
    saver, due = GroupSaver(process, learner), []
    for step in range(1, 26):
        asks = learner.asks_to_save if rank == 0 else step in saved
        learner.train_step, learner.asks_to_save, learner.is_to_save = step, False, asks
        due += [step for _ in range(3) if saver.due()]
    assert due == saved


def test_no_save_is_asked_for_while_one_is_under_way():
    config = Config()
    config = replace(config, checkpoint=replace(config.checkpoint, interval_train_steps=10))
    counters = {"snapshot_step": 10, "saved_step": 0}
    board = SimpleNamespace(counter=lambda _, counter: counters[counter])
    process = SimpleNamespace(spec=SimpleNamespace(config=config), run_board=board)
    group = SimpleNamespace(rank=0, size=2)
    learner = SimpleNamespace(train_step=19, asks_to_save=False, is_to_save=False, group=group)
    saver = GroupSaver(process, learner)
    assert not saver.due() and not learner.asks_to_save
    counters["saved_step"] = 10
    assert not saver.due() and learner.asks_to_save
