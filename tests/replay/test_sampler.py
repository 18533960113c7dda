"""Which positions can be drawn, how often, and whose priority is believed."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from speedyzero.config import ReplayConfig
from speedyzero.replay.sampler import Sampler
from speedyzero.replay.shard import Shard, ShardShape
from speedyzero.topology.records import PriorityRecord
from tests.refusal import refusal
from tests.replay.episodes import GAME_OVER, LIMIT, NUM_ACTIONS, SPEC, Lane, made_up_lane, shapes, tick

CHI_SQUARE_16 = 39.25  # 99.9% quantile with 16 degrees of freedom; seeds are fixed, so what passes continues passing


class Replay:
    """A shard of made-up lanes and its sampler, filled tick by tick as the reanalyzer does."""

    def __init__(self, lanes: list[Lane], *, rows=64, stack=2, lookahead=3, seed=0, **config):
        self.lanes = lanes
        self.shard = Shard(
            ShardShape(len(lanes), rows, SPEC, num_actions=NUM_ACTIONS, stack=stack, lookahead=lookahead)
        )
        self.sampler = Sampler(self.shard, ReplayConfig(**config), seed=seed)

    def play(self, ticks: int) -> None:
        for _ in range(ticks):
            self.shard.append(tick(self.lanes, int(self.shard.head[0])))
            self.sampler.follow()

    def eligible(self) -> list[tuple[int, int]]:
        """(lane, step) by the definition alone."""
        shard, head = self.shard, int(self.shard.head[0])
        oldest = max(0, head - shard.rows + shard.shape.guard + shard.stack - 1)
        steps = range(oldest, head - shard.lookahead)
        return [(e, step) for e, lane in enumerate(self.lanes) for step in steps if not lane.rows[step].last]

    def set(self, priority: dict[tuple[int, int], float], *, version: int) -> int:
        lane, step = np.array(list(priority), np.int64).reshape(-1, 2).T
        return self.sampler.update(PriorityRecord(lane, step, version, np.array(list(priority.values()), np.float32)))

    def drawn(self, batch_size: int, batches: int = 1) -> list[tuple[int, int]]:
        found: list[tuple[int, int]] = []
        for _ in range(batches):
            sample = self.sampler.draw(batch_size)
            found += zip(sample.lane.tolist(), sample.step.tolist(), strict=True)
        return found

    def probabilities(self) -> dict[tuple[int, int], float]:
        """Of all eligible positions, as the sampler states them: drawn until each was seen."""
        stated: dict[tuple[int, int], float] = {}
        for _ in range(400):
            if len(stated) == self.sampler.size:
                break
            sample = self.sampler.draw(256)
            positions = zip(sample.lane.tolist(), sample.step.tolist(), strict=True)
            stated |= dict(zip(positions, sample.probability.tolist(), strict=True))
        return stated


def small_replay(**config) -> Replay:
    """17 eligible positions in two lanes: steps 0-8 of both, of which one is a game's last row."""
    replay = Replay([made_up_lane([(4, GAME_OVER)], min_rows=90), made_up_lane([(90, LIMIT)], lane=1)], **config)
    replay.play(12)
    assert len(replay.eligible()) == 17
    return replay


def some_priorities(replay: Replay) -> dict[tuple[int, int], float]:
    rng = np.random.default_rng(5)
    return {position: float(10 ** rng.uniform(-3, 1)) for position in replay.eligible()}


def formula(replay: Replay, priority: dict[tuple[int, int], float], *, alpha: float, share: float) -> np.ndarray:
    """P by its definition, in the order of `replay.eligible()`."""
    power = np.array([priority[position] for position in replay.eligible()]) ** alpha
    return (1 - share) * power / power.sum() + share / len(power)


@given(st.lists(shapes(), min_size=1, max_size=3), st.integers(1, 3), st.integers(1, 5), st.integers(0, 80))
def test_exactly_the_eligible_positions_are_drawn(lane_shapes, stack, lookahead, ticks):
    lanes = [made_up_lane(shape, lane=lane, min_rows=90) for lane, shape in enumerate(lane_shapes)]
    replay = Replay(lanes, rows=2 * (lookahead + stack) + 3, stack=stack, lookahead=lookahead)
    replay.play(ticks)
    eligible = replay.eligible()
    assert replay.sampler.size == len(eligible)
    if not eligible:
        with pytest.raises(ValueError, match="0 eligible"):
            replay.sampler.draw(4)
        return
    stated = replay.probabilities()
    assert sorted(stated) == eligible
    assert sum(stated.values()) == pytest.approx(1)
    # Changed priorities must leave with the positions that had them, too.
    replay.set(dict.fromkeys(eligible, 1e6), version=0)
    replay.play(7)
    assert set(replay.drawn(64)) <= set(replay.eligible())


@pytest.mark.parametrize("share", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("alpha", [0.0, 0.6, 1.0])
def test_stated_probability_is_the_formula(alpha, share):
    replay = small_replay(alpha=alpha, uniform_share=share)
    priority = some_priorities(replay)
    assert replay.set(priority, version=3) == 17
    stated = replay.probabilities()
    expected = formula(replay, priority, alpha=alpha, share=share)
    np.testing.assert_allclose([stated[position] for position in replay.eligible()], expected, rtol=1e-6)
    assert sum(stated.values()) == pytest.approx(1)


@pytest.mark.parametrize("share", [0.0, 0.1, 1.0])
def test_frequencies_are_the_probabilities(share):
    replay = small_replay(uniform_share=share)
    priority = some_priorities(replay)
    replay.set(priority, version=0)
    expected = formula(replay, priority, alpha=0.6, share=share)
    # One draw at a time: the draws of one stratified batch spread too evenly to be independent.
    assert chi_square(replay, replay.drawn(1, batches=12_000), expected) < CHI_SQUARE_16
    # Stratified ones hit each position as often as B * P says, to within the ends of its two intervals.
    for _ in range(20):
        drawn = replay.drawn(64)
        counts = np.array([drawn.count(position) for position in replay.eligible()])
        assert np.abs(counts - 64 * expected).max() < 4


def chi_square(replay: Replay, drawn: list[tuple[int, int]], probability: np.ndarray) -> float:
    counts = np.array([drawn.count(position) for position in replay.eligible()])
    assert counts.sum() == len(drawn)
    expected = len(drawn) * probability
    return float(((counts - expected) ** 2 / expected).sum())


@pytest.mark.parametrize(("share", "times"), [(0.0, 1), (1.0, 3), (0.5, 2)])
def test_strata_cover_equal_positions_equally(share, times):
    """One draw in each B-th part of the probability; with a half uniform either half covers every position."""
    replay = small_replay(uniform_share=share)
    assert sorted(replay.drawn(17 * times)) == sorted(replay.eligible() * times)


@pytest.mark.parametrize("share", [0.0, 0.1, 1.0])
def test_a_row_of_the_batch_says_nothing_of_the_position(share):
    """Part of a batch keeps the actor's policies, and ranks share it out by rows: any part must be like the whole."""
    replay = small_replay(uniform_share=share)
    priority = some_priorities(replay)
    replay.set(priority, version=0)
    expected = formula(replay, priority, alpha=0.6, share=share)
    batches = [replay.drawn(8) for _ in range(6_000)]
    for row in (0, 7):
        assert chi_square(replay, [batch[row] for batch in batches], expected) < CHI_SQUARE_16


def test_new_positions_get_the_running_maximum():
    replay = small_replay()
    priority = replay.shard.priority
    assert set(priority[:, :9].ravel()) == {0.0, 1.0}  # 0: the last row
    replay.set({(0, 0): 0.25}, version=0)
    replay.play(1)
    assert priority[1, 9] == 1
    replay.set({(0, 1): 8.0}, version=1)
    replay.play(1)
    assert priority[1, 10] == 8
    replay.set({(0, 1): 0.5}, version=2)  # a maximum over all time: it stays when its position falls
    replay.play(1)
    assert priority[1, 11] == 8
    assert priority[1, 9] == 1  # what was admitted before keeps what it had


def test_the_newer_version_wins():
    replay = small_replay()
    assert replay.set({(1, 3): 5.0}, version=7) == 1
    assert replay.set({(1, 3): 9.0, (1, 4): 2.0}, version=6) == 1
    assert replay.shard.priority[1, 3] == 5 and replay.shard.stamp[1, 3] == 7
    assert replay.shard.priority[1, 4] == 2 and replay.shard.stamp[1, 4] == 6
    assert replay.set({(1, 3): 0.5}, version=7) == 1
    assert replay.shard.priority[1, 3] == 0.5


def test_of_two_priorities_for_one_position_the_later_counts():
    replay = small_replay(alpha=1.0, uniform_share=0.0)
    twice = PriorityRecord(np.array([0, 0]), np.array([2, 2]), 1, np.array([50.0, 4.0], np.float32))
    replay.sampler.update(twice)
    assert replay.shard.priority[0, 2] == 4
    assert replay.probabilities()[0, 2] == pytest.approx(4 / 20)


def test_positions_that_are_gone_or_not_yet_there_or_never_drawn_keep_out():
    """Row 64 of a lane takes the place of row 0, whose late priority must not become its own."""
    replay = Replay([made_up_lane([(4, GAME_OVER)], min_rows=90)], rows=64)
    replay.play(72)
    oldest, newest = replay.eligible()[0][1], replay.eligible()[-1][1]
    assert (oldest, newest) == (72 - 64 + 16 + 1, 68)
    before, stamps = replay.shard.priority.copy(), replay.shard.stamp.copy()
    last = next(step for step in range(oldest, newest) if replay.lanes[0].rows[step].last)
    outside = [3, 4, oldest - 1, newest + 1, last]
    assert replay.set({(0, step): 77.0 for step in outside}, version=9) == 0
    np.testing.assert_array_equal(replay.shard.priority, before)
    np.testing.assert_array_equal(replay.shard.stamp, stamps)
    assert replay.set({(0, oldest): 77.0, (0, newest): 78.0}, version=9) == 2


def test_a_reused_row_starts_anew():
    """Neither the priority nor the version of the position that lay there before is left."""
    replay = Replay([made_up_lane([(200, LIMIT)])], rows=64)
    replay.play(20)
    replay.set({(0, 5): 3.0}, version=50)
    replay.play(55)
    assert replay.shard.priority[0, 5] == 3 and replay.shard.stamp[0, 5] == -1
    assert replay.set({(0, 69): 0.5}, version=1) == 1
    assert replay.shard.priority[0, 5] == 0.5
    assert (0, 5) not in replay.drawn(500)


def test_a_priority_that_is_no_number_is_refused():
    """It would spoil the sums above its leaf for good."""
    replay = small_replay()
    assert "nan" in refusal(replay.set, {(0, 0): 1.0, (0, 1): float("nan")}, version=0)
    assert "inf" in refusal(replay.set, {(0, 1): float("inf")}, version=0)
    assert set(replay.shard.priority[:, :9].ravel()) == {0.0, 1.0}


def test_a_successor_starts_positions_with_the_largest_priority_there_ever_was():
    """Also where no position has it any more."""
    replay = small_replay()
    replay.set({(0, 1): 8.0}, version=0)
    replay.set(dict.fromkeys(replay.eligible(), 0.5), version=1)
    replay.sampler = Sampler(replay.shard, ReplayConfig(), seed=0)
    replay.play(1)
    assert replay.shard.priority[1, 9] == 8 and replay.shard.priority.max() == 8


def test_a_successor_draws_what_its_predecessor_would_have_drawn_next():
    replay = small_replay(seed=4)
    replay.set(some_priorities(replay), version=0)
    replay.drawn(16, batches=3)
    successor = Sampler(replay.shard, ReplayConfig(), seed=4, first_draw=3)
    theirs, ours = successor.draw(16), replay.sampler.draw(16)
    for name, value in vars(ours).items():
        np.testing.assert_array_equal(getattr(theirs, name), value)
