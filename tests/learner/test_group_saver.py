"""When the ranks of a group save: each step is named once, so that a rank that is to end does end."""

from types import SimpleNamespace

from speedyzero.config import Config
from speedyzero.learner.group_saver import GroupSaver


def test_a_step_is_named_once():
    """The rank would otherwise never leave: interrupted at such a step, it comes by again without having trained."""
    counters = {"save_step": 5, "snapshot_step": 0, "saved_step": 0}
    process = SimpleNamespace(
        spec=SimpleNamespace(config=Config()),
        run_board=SimpleNamespace(counter=lambda name, counter: counters[counter]),
    )
    learner = SimpleNamespace(train_step=4, reports=False, group=SimpleNamespace(size=2))
    saver = GroupSaver(process, learner)
    assert not saver.due()
    learner.train_step = 5
    assert [saver.due() for _ in range(3)] == [True, False, False]
    learner.train_step = counters["save_step"] = 9
    assert [saver.due() for _ in range(2)] == [True, False]
