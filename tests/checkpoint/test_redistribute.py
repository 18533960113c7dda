"""Rows dealt to other lanes: every row is still followed by what followed it, but where a game was cut."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from speedyzero.checkpoint.redistribute import Piece, deal, redistribute
from speedyzero.env.base import ObservationSpec
from speedyzero.replay.shard import Shard, ShardShape

STACK, LOOKAHEAD = 2, 4
OF_A_CUT = ("action", "reward", "raw_reward", "terminal", "truncated", "last", "first")


def shard_of(*, lanes: int, rows: int, actors: int = 1, frame=(1,)) -> Shard:
    spec = ObservationSpec(frame, np.dtype(np.float32))
    return Shard(
        ShardShape(lanes=lanes, rows=rows, spec=spec, num_actions=2, stack=STACK, lookahead=LOOKAHEAD, actors=actors)
    )


def played(shard: Shard, ticks: list[int], rng: np.random.Generator, *, first_name: int) -> int:
    """Fill a shard with games, each row's frame a name of its own; the next name. ticks: by actor."""
    share = shard.lanes // shard.shape.actors
    for actor, count in enumerate(ticks):
        for lane in range(actor * share, (actor + 1) * share):
            begins = True
            for step in range(count):
                slot = step % shard.rows
                shard.frame[lane, slot] = first_name
                shard.first[lane, slot] = begins
                is_last = not begins and rng.random() < 0.15
                ends = is_last or rng.random() < 0.05  # a life
                shard.last[lane, slot], shard.terminal[lane, slot] = is_last, ends and not is_last
                shard.truncated[lane, slot] = False
                if is_last:
                    shard.terminal[lane, (step - 1) % shard.rows] = True
                shard.action[lane, slot], shard.reward[lane, slot] = rng.integers(2), rng.normal()
                shard.priority[lane, slot], shard.stamp[lane, slot] = rng.random(), first_name
                begins = ends
                first_name += 1
        shard.head[actor * share : (actor + 1) * share] = count
        shard.ticks[actor] = count
    shard.largest_priority[:] = shard.priority.max()
    return first_name


def streams(shard: Shard) -> list[np.ndarray]:
    """Slots of each lane, oldest row first."""
    return [np.arange(max(0, head - shard.rows), head) % shard.rows for head in shard.head]


@given(
    ticks=st.lists(st.lists(st.integers(1, 40), min_size=1, max_size=2), min_size=1, max_size=3),
    new=st.tuples(st.integers(1, 3), st.integers(1, 5), st.sampled_from([12, 20, 64])),
    seed=st.integers(0, 2**32 - 1),
)
def test_rows_keep_their_neighbours_but_at_cuts(ticks, new, seed):
    actors = len(ticks[0])
    old = [shard_of(lanes=2 * actors, rows=24, actors=actors) for _ in ticks]
    rng, name = np.random.default_rng(seed), 1
    for shard, of_shard in zip(old, ticks, strict=True):
        name = played(shard, (of_shard * actors)[:actors], rng, first_name=name)
    shards, lanes, rows = new
    made = [shard_of(lanes=lanes, rows=rows) for _ in range(shards)]
    stored = sum(min(24, head) for shard in old for head in shard.head.tolist())
    if stored < shards * lanes:
        with pytest.raises(ValueError, match=f"{stored} rows are too few for {shards * lanes} lanes"):
            redistribute(old, made)
        return
    dealt = redistribute(old, made)

    found, follows, age = {}, {}, {}
    for shard in old:
        for lane, slots in enumerate(streams(shard)):
            names = shard.frame[lane, slots, 0].tolist()
            for at, (slot, one) in enumerate(zip(slots.tolist(), names, strict=True)):
                found[one] = {field: getattr(shard, field)[lane, slot] for field in (*OF_A_CUT, "priority", "stamp")}
                follows[one] = names[at + 1] if at + 1 < len(names) and not found[one]["last"] else None
                age[one] = len(names) - at
    assert dealt.kept + dealt.given_up == stored and dealt.kept == dealt.rows_per_lane * shards * lanes
    kept, cuts = set(), 0
    for shard in made:
        assert (shard.head == dealt.rows_per_lane).all() and (shard.ticks == dealt.rows_per_lane).all()
        for lane in range(lanes):
            names = shard.frame[lane, : dealt.rows_per_lane, 0].tolist()
            kept |= set(names)
            for slot, one in enumerate(names):
                row = {field: getattr(shard, field)[lane, slot] for field in found[one]}
                after = names[slot + 1] if slot + 1 < len(names) else None
                is_cut = row["last"] and not found[one]["last"]
                begins = slot == 0 or shard.last[lane, slot - 1]
                cuts += int(is_cut) + int(begins and not found[one]["first"])
                assert row["first"] or not begins, "a stack would reach into another game"
                assert row["first"] == found[one]["first"] or begins
                assert row["priority"] == found[one]["priority"] and row["stamp"] == found[one]["stamp"]
                if is_cut:
                    assert row["reward"] == 0 and not row["terminal"] and not row["truncated"]
                    if not row["first"]:
                        assert shard.truncated[lane, slot - 1]
                elif not row["last"]:
                    assert after == follows[one], "another row follows than followed it"
                    next_is_cut = shard.last[lane, slot + 1] and not found[after]["last"]
                    was_cut_here = bool(next_is_cut and not shard.first[lane, slot + 1])
                    assert row["truncated"] == (was_cut_here or found[one]["truncated"])
                    for field in ("action", "reward", "raw_reward", "terminal"):
                        assert row[field] == found[one][field], field
            assert shard.last[lane, dealt.rows_per_lane - 1]
    assert len(kept) == dealt.kept and cuts == dealt.cuts
    assert all(shard.largest_priority[0] == max(one.largest_priority[0] for one in old) for shard in made)


def test_the_oldest_rows_are_given_up_where_there_is_less_room():
    old, made = shard_of(lanes=2, rows=24), shard_of(lanes=2, rows=12)
    played(old, [24], np.random.default_rng(0), first_name=1)
    dealt = redistribute([old], [made])
    assert (dealt.kept, dealt.given_up) == (24, 24)
    for lane in range(2):
        is_kept = np.isin(old.frame[lane, :, 0], made.frame)
        assert is_kept[-1] and (np.diff(is_kept.astype(int)) >= 0).all(), "an older row was kept before a newer one"


def test_games_are_dealt_whole_where_they_fit_and_oldest_first():
    games = [Piece(0, lane, first, 6, age) for age, first in ((18, 0), (12, 6), (6, 12), (0, 18)) for lane in (0, 1)]
    dealt = deal(games, lanes=4, rows_per_lane=12)
    assert [[(piece.lane, piece.first) for piece in lane] for lane in dealt] == [
        [(0, 0), (0, 12)],
        [(1, 0), (1, 12)],
        [(0, 6), (0, 18)],
        [(1, 6), (1, 18)],
    ]


def test_one_long_game_is_cut_for_every_lane():
    dealt = deal([Piece(0, 0, 0, 12, 0)], lanes=3, rows_per_lane=4)
    assert sorted((lane[0].first, lane[0].rows) for lane in dealt) == [(0, 4), (4, 4), (8, 4)]
    assert all(len(lane) == 1 for lane in dealt)


def test_rows_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"frame of float32 \[1\] a row, this run float32 \[2\]"):
        redistribute([shard_of(lanes=1, rows=12)], [shard_of(lanes=1, rows=12, frame=(2,))])
