"""What was logged comes back to the bit, at every position, whatever the lanes did and whoever died."""

import contextlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from speedyzero.checkpoint import replay_log
from speedyzero.checkpoint.log_format import LogPosition, segment_numbers, segment_path
from speedyzero.checkpoint.log_reader import read_rows, restore
from speedyzero.checkpoint.replay_log import ReplayLog, replay_log_dir
from speedyzero.checkpoint.row_format import NOT_IN_ROWS, RowFormat
from speedyzero.replay.shard import Shard
from tests.checkpoint.logged_shard import ROWS, FailingDisk, LoggedShard, assert_restores, contents, make_shard

ACTORS = 3
STEPS = st.one_of(
    st.tuples(st.just("append"), st.integers(0, ACTORS - 1), st.integers(1, 30)),
    st.tuples(st.just("append"), st.integers(0, ACTORS - 1), st.integers(1, 2)),
    st.tuples(st.just("cut_off"), st.integers(0, ACTORS - 1)),
    st.tuples(st.just("sync")),
    st.tuples(st.just("reopen")),
    st.tuples(st.just("discard"), st.integers(0, 3)),
)
FAULTS = st.one_of(STEPS, st.sampled_from([("full",), ("mended",), ("broken",)]))


def carry_out(made: LoggedShard, disk: FailingDisk, steps) -> None:
    for step, *arguments in steps:
        if step == "append":
            made.append(arguments[1], actor=arguments[0])
        elif step == "cut_off":
            made.cut_off(actor=arguments[0])
        elif step == "discard":
            del made.synced[: arguments[0]]
            made.log.discard(kept=[position for position, _ in made.synced])
        elif step == "reopen":
            try:
                made.reopen()
            except OSError:
                assert disk.has_failed
                made.reopen()
        elif step == "sync":
            with contextlib.suppress(OSError) if disk.is_full or disk.is_broken else contextlib.nullcontext():
                made.sync()
        else:
            disk.is_full, disk.is_broken = step == "full", step == "broken"


@settings(max_examples=60)
@given(st.lists(STEPS, max_size=25), st.sampled_from([1, 400, 1500]), st.integers(0, 9))
def test_every_position_restores_to_the_bit(steps, segment_bytes, seed):
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        disk = FailingDisk(patch)
        made = LoggedShard(Path(folder) / "log", actors=ACTORS, segment_bytes=segment_bytes, seed=seed)
        carry_out(made, disk, [*steps, ("sync",)])
        made.assert_all_restore()
        made.log.close()


@settings(max_examples=60)
@given(st.lists(FAULTS, max_size=40), st.sampled_from([1, 400, 1500]))
def test_so_it_does_on_a_disk_that_fails_now_and_then(steps, segment_bytes):
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        disk = FailingDisk(patch)
        made = LoggedShard(Path(folder) / "log", actors=ACTORS, segment_bytes=segment_bytes)
        carry_out(made, disk, steps)
        disk.is_full = disk.is_broken = False
        made.sync()
        made.assert_all_restore()
        made.log.close()


@settings(max_examples=40)
@given(st.lists(STEPS, max_size=12), st.lists(STEPS, max_size=12), st.integers(0, 5), st.booleans())
def test_a_run_goes_on_from_any_position(before, after, number, is_torn):
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        disk = FailingDisk(patch)
        made = LoggedShard(Path(folder) / "log", actors=ACTORS, segment_bytes=700)
        carry_out(made, disk, [step for step in before if step[0] != "discard"])
        made.sync()
        made.append(7)
        if is_torn:
            with open(segment_path(made.directory, made.log.position.segment), "ab") as file:
                file.write(b"half a record")
        made.resume(number % len(made.synced))
        carry_out(made, disk, [*after, ("sync",)])
        made.assert_all_restore()
        made.log.close()


@pytest.mark.parametrize("ticks", [0, 1, ROWS - 1, ROWS, ROWS + 1, 5 * ROWS + 3])
def test_by_wraps(tmp_path, ticks):
    made = LoggedShard(tmp_path, actors=1)
    made.append(ticks)
    position = made.sync()
    assert position.ticks == (ticks,)
    made.assert_all_restore()


def test_every_array_of_rows_is_logged():
    shape = make_shard().shape
    assert {*RowFormat.of(shape).names, *NOT_IN_ROWS} == set(shape.fields())


def test_the_reader_needs_no_torch():
    modules = "speedyzero.checkpoint.log_reader, speedyzero.checkpoint.replay_log"
    code = f"import sys, {modules}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_rows_are_written_in_blocks_and_each_once(tmp_path):
    made = LoggedShard(tmp_path, actors=1, rows=4096, segment_bytes=1 << 30)
    sizes = []
    for _ in range(3 * replay_log.BLOCK_TICKS):
        made.append()
        sizes.append(segment_path(tmp_path, 0).stat().st_size)
    assert len(set(sizes)) == 1 + 3
    made.sync()
    assert segment_path(tmp_path, 0).stat().st_size == sizes[-1]
    assert sum(block.columns["frame"].shape[1] for block in read_rows(tmp_path, made.log.position, rows=4096)) == len(
        sizes
    )


def test_a_cut_off_after_its_rows_were_logged_is_a_small_record(tmp_path):
    made = LoggedShard(tmp_path, actors=2, frame=(64, 64, 3), segment_bytes=1 << 30)
    for actor in range(2):
        made.append(5, actor=actor)
    before = made.sync()
    made.cut_off(actor=1)
    after = made.sync()
    assert contents(made.shard) != made.synced[0][1]
    assert after.ticks == before.ticks and 0 < after.length_bytes - before.length_bytes < 400
    made.assert_all_restore()


def test_only_what_a_kept_position_or_the_shard_needs_is_kept(tmp_path):
    made = LoggedShard(tmp_path, actors=1, segment_bytes=1)  # every record its own segment
    for _ in range(8):
        made.append(ROWS // 2)
        made.sync()
    kept = made.synced[2], made.synced[-1]
    assert made.log.discard(kept=[position for position, _ in kept]) > 0
    found = segment_numbers(tmp_path)
    for position, expected in kept:
        assert_restores(tmp_path, position, expected, like=made.shard)
    with pytest.raises(ValueError, match="missing|the oldest segment there is"):
        assert_restores(tmp_path, *made.synced[4], like=made.shard)
    assert len(found) < 8 and made.log.discard(kept=[position for position, _ in kept]) == 0
    made.log.discard(kept=[])
    assert_restores(tmp_path, *made.synced[-1], like=made.shard)  # what a sync would give now
    made.append(3)
    made.sync()
    assert_restores(tmp_path, *made.synced[-1], like=made.shard)


def test_what_a_resumed_run_gives_up_is_told(tmp_path, caplog):
    made = LoggedShard(tmp_path, actors=1, lanes=2, segment_bytes=1)
    made.append(3)
    made.sync()
    for _ in range(2):
        made.append(5)
        made.sync()
    made.resume(0)
    assert "after [3] ticks are given up: 2 records of 20 rows" in caplog.text
    assert segment_numbers(tmp_path) == [0, 1]
    made.append(1)
    made.sync()
    made.assert_all_restore()


def test_nothing_is_told_where_nothing_is_given_up(tmp_path, caplog):
    made = LoggedShard(tmp_path, actors=1)
    made.append(3)
    made.sync()
    made.resume(0)
    made.reopen()
    assert caplog.text == ""


def test_an_abandoned_future_is_not_taken_for_the_new_one(tmp_path):
    """The log came twice to the same length: the position of the first time is refused."""
    made = LoggedShard(tmp_path, actors=1, segment_bytes=1 << 30)
    made.append(3)
    made.sync()
    made.append(4)
    abandoned = made.sync()
    made.resume(0)
    made.append(4)
    again = made.sync()
    assert (again.ticks, again.records) == (abandoned.ticks, abandoned.records)
    with pytest.raises(ValueError, match="not the one of this checkpoint|damaged|ends there"):
        restore(tmp_path, abandoned, Shard(made.shard.shape))


def test_two_writers(tmp_path):
    made = LoggedShard(tmp_path)
    with pytest.raises(ValueError, match=f"written by process {os.getpid()} already"):
        ReplayLog.open(tmp_path, made.shard)
    made.log.close()
    ReplayLog.open(tmp_path, made.shard).close()


def test_a_new_shard_beside_an_old_log(tmp_path):
    made = LoggedShard(tmp_path, actors=1)
    made.append(3)
    position = made.sync()
    made.log.close()
    for begin in (ReplayLog.open, lambda *of: ReplayLog.resume(*of, position)):
        with pytest.raises(ValueError, match="3.*0|0.*3"):
            begin(tmp_path, make_shard(actors=1))
    made.reopen()


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ({"actors": 2}, "of 1 actors, the shard of 2"),
        ({"lanes": 3}, "2 lanes of each actor, not 3 lanes of each actor"),
        ({"frame": (5,)}, r"frame of \|u1 \[3\], not frame of \|u1 \[5\]"),
        ({"dtype": np.float32}, "not frame of <f4"),
        ({"rows": 2 * ROWS}, "begins with rows"),
    ],
)
def test_another_shard_is_refused(tmp_path, other, words):
    made = LoggedShard(tmp_path, actors=1, segment_bytes=1)
    made.append(3 * ROWS)
    position = made.sync()
    made.log.discard(kept=[])
    shard = make_shard(**{"actors": 1, **other})
    with pytest.raises(ValueError, match=words):
        restore(tmp_path, position, shard)
    assert not shard.ticks.any() and not shard.frame.any()


def test_a_shard_that_holds_something_is_refused(tmp_path):
    made = LoggedShard(tmp_path, actors=1)
    made.append(3)
    position = made.sync()
    with pytest.raises(ValueError, match=r"holds \[3\] ticks already"):
        restore(tmp_path, position, made.shard)


def test_positions_are_json(tmp_path):
    made = LoggedShard(replay_log_dir(tmp_path, 0))
    made.append(3, actor=1)
    position = made.sync()
    assert LogPosition.from_json(position.to_json()) == position
    good = position.to_json()
    for bad in (
        None,
        [],
        {},
        {**good, "ticks": None},
        {**good, "ticks": [1.0, 2]},
        {**good, "segment": -1},
        {**good, "records": True},
        {**good, "digest": "00"},
        {**good, "digest": 7},
        {**good, "more": 1},
        {name: value for name, value in good.items() if name != "records"},
    ):
        with pytest.raises(ValueError, match="no position in a replay log"):
            LogPosition.from_json(bad)
