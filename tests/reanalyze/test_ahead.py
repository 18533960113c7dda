"""Searches made ahead for the next target network: when, of what, and that no target knows of it."""

import numpy as np

from tests.reanalyze.test_reanalyzer import LANES
from tests.reanalyze.tiny import CONFIG, Machine, WatchedAgent, changed

INTERVAL = CONFIG.target_interval
SLICE = 8
AHEAD = changed(reanalyze={"ahead_batch": SLICE})


class AheadMachine(Machine):
    """Its reanalyzer has an agent for the next target network."""

    def __init__(self, *, published: bool = True):
        """published: the next network's weights are there already, and it is time for them."""
        super().__init__(AHEAD, LANES, ticks=70, following=WatchedAgent(AHEAD))
        if published:
            self.publish(INTERVAL)
            self.go_to(INTERVAL)

    def go_to(self, train_step: int) -> None:
        self.edges.board.train_steps = train_step

    def fill(self) -> int:
        """Steps with nothing else to do, until nothing is left ahead."""
        assert self.reanalyzer.step(), "the batch comes first"
        steps = 0
        while self.reanalyzer.step():
            steps += 1
        return steps


def eligible(run: AheadMachine) -> set[tuple[int, int]]:
    lane, step = run.sampler.likeliest_first()
    return set(zip(lane.tolist(), step.tolist(), strict=True))


def test_everything_is_searched_once_with_the_next_networks_weights():
    run = AheadMachine()
    steps = run.fill()
    assert run.agent.version == 0 and run.following.version == INTERVAL
    assert len(run.following.searched) == len(set(run.following.searched)) == run.sampler.size
    assert set(run.following.searched) == eligible(run)
    assert steps == -(-run.sampler.size // SLICE) and run.following.largest_batch == SLICE


def test_after_the_switch_nothing_is_left_to_search_and_targets_are_the_same():
    ahead, plain = AheadMachine(), Machine(CONFIG, LANES, ticks=70)
    plain.publish(INTERVAL)
    plain.edges.board.train_steps = INTERVAL
    ahead.fill()
    ahead.edges.batches.get()
    plain.batch()  # the first draw of both
    for run in (ahead, plain):
        run.edges.board.train_steps = 2 * INTERVAL
        run.publish(2 * INTERVAL)
    done = ahead.reanalyzer.memo.done_searches
    one, other = ahead.batch(), plain.batch()
    assert one.target_version == other.target_version == INTERVAL
    late = {(lane, step) for lane, step in zip(one.lane.tolist(), one.step.tolist(), strict=True)}
    assert late <= eligible(ahead)
    # Only what no root of the shard is: the newest rows, which lie inside other roots' lookahead.
    newest = ahead.shard.newest_eligible().min()
    assert all(step > newest for _, step in ahead.agent.searched[done:])
    for field in ("value_target", "policy_target", "prefix_target"):
        np.testing.assert_allclose(getattr(one, field), getattr(other, field), rtol=1e-5, atol=1e-5)


def test_batches_come_first():
    run = AheadMachine()
    for _ in range(3):
        assert run.batch() is not None
        assert run.following.searched == []


def test_likely_positions_come_first():
    run = AheadMachine()
    lane, step = (array[-SLICE:] for array in run.sampler.likeliest_first())
    leaf = run.sampler._leaf(lane, step)
    run.sampler._weights.set(leaf, np.full(len(leaf), 99.0))
    run.reanalyzer.step()
    run.reanalyzer.step()
    assert set(run.following.searched) == set(zip(lane.tolist(), step.tolist(), strict=True))


def test_nothing_is_done_before_the_next_weights_are_there():
    run = AheadMachine(published=False)
    run.go_to(INTERVAL - 1)
    assert run.fill() == 0 and run.following.version == -1


def test_what_comes_later_is_searched_too():
    run = AheadMachine()
    run.fill()
    before = len(run.following.searched)
    run.play(3)
    while run.reanalyzer.step():
        pass
    assert set(run.following.searched[before:]) <= eligible(run) and len(run.following.searched) > before
    assert len(run.following.searched) == len(set(run.following.searched))


def test_a_network_that_was_skipped_leaves_its_table_unused():
    """The reanalyzer was slow and takes over a later one than it had prepared for."""
    run = AheadMachine()
    run.fill()
    run.edges.batches.get()
    table = run.reanalyzer.memo._table
    run.publish(3 * INTERVAL)
    run.go_to(4 * INTERVAL)
    run.batch()
    assert run.agent.version == 3 * INTERVAL and run.reanalyzer.memo._table is table
    assert len(run.agent.searched) > 0
