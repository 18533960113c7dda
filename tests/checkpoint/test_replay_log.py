"""Rows on disk are restored to the bit from every checkpoint, whatever the lanes did and whoever died."""

import contextlib
import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from speedyzero.checkpoint import replay_log
from speedyzero.checkpoint.manifest import MANIFEST_FILE, checkpoint_dir, write_manifest
from speedyzero.checkpoint.replay_log import ReplayLog
from speedyzero.checkpoint.row_format import NOT_IN_ROWS, RowFormat
from tests.checkpoint.logged_shard import ROWS, FailingDisk, LoggedShard, contents, make_shard

ACTORS = 3
STEPS = st.one_of(
    st.tuples(st.just("append"), st.integers(0, ACTORS - 1), st.integers(1, 30)),
    st.tuples(st.just("append"), st.integers(0, ACTORS - 1), st.integers(1, 2)),
    st.tuples(st.just("cut_off"), st.integers(0, ACTORS - 1)),
    st.tuples(st.just("save")),
    st.tuples(st.just("reopen")),
    st.tuples(st.just("sweep"), st.integers(0, 3)),
)
FAULTS = st.one_of(STEPS, st.sampled_from([("full",), ("mended",), ("broken",)]))


def carry_out(made: LoggedShard, disk: FailingDisk, steps) -> None:
    for step, *arguments in steps:
        if step == "append":
            made.append(arguments[1], actor=arguments[0])
        elif step == "cut_off":
            made.cut_off(actor=arguments[0])
        elif step == "sweep":
            for _ in made.saved[: arguments[0]]:
                made.drop(0)
            made.log.sweep()
        elif step == "reopen":
            made.reopen()
        elif step == "save":
            with contextlib.suppress(OSError) if disk.is_full or disk.is_broken else contextlib.nullcontext():
                made.save()
        else:
            disk.is_full, disk.is_broken = step == "full", step == "broken"


@settings(max_examples=100)
@given(st.lists(FAULTS, max_size=40), st.integers(0, 9))
def test_every_checkpoint_restores_to_the_bit(steps, seed):
    """On a disk that fails now and then."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        disk = FailingDisk(patch)
        made = LoggedShard(Path(folder), actors=ACTORS, seed=seed)
        carry_out(made, disk, steps)
        disk.is_full = disk.is_broken = False
        made.save()
        made.log.sweep()
        made.assert_all_restore()
        made.log.close()


@settings(max_examples=40)
@given(st.lists(STEPS, max_size=12), st.lists(STEPS, max_size=12), st.integers(0, 5))
def test_a_run_resumes_from_any_checkpoint(before, after, number):
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        disk = FailingDisk(patch)
        made = LoggedShard(Path(folder), actors=ACTORS)
        carry_out(made, disk, [step for step in before if step[0] != "sweep"])
        made.save()
        made.append(7)
        made.resume(number % len(made.saved))
        carry_out(made, disk, [*after, ("save",)])
        made.assert_all_restore()
        made.log.close()


def test_every_array_of_rows_is_logged():
    shape = make_shard().shape
    assert {*(name for name, _, _ in RowFormat.of(shape).fields), *NOT_IN_ROWS} == set(shape.fields())


def blocks(run_dir) -> dict[str, tuple[int, bytes]]:
    """Of every block file, when it was written and its content, by name."""
    return {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in (run_dir / "replay").glob("*.zst")}


def test_rows_are_written_in_blocks_and_each_once(tmp_path):
    made = LoggedShard(tmp_path, actors=1, rows=4096)
    counts = []
    for _ in range(3 * replay_log.BLOCK_TICKS + 5):
        made.append()
        counts.append(len(blocks(tmp_path)))
    assert counts == [tick // replay_log.BLOCK_TICKS for tick in range(1, len(counts) + 1)]
    first = made.save()
    before = blocks(tmp_path)
    assert len(before) == 4
    made.append(3)
    second = made.save()
    assert first < second and len(second - first) == 1, "a checkpoint adds the blocks of the rows since the one before"
    assert {name: one for name, one in blocks(tmp_path).items() if name in before} == before


def test_a_block_leaves_the_list_when_its_last_row_is_overwritten(tmp_path):
    made = LoggedShard(tmp_path, actors=1)
    made.append(ROWS)
    first = made.save()
    made.append(ROWS // 2 - 1)
    assert made.save() > first
    made.append(1)
    assert len(first & made.save()) == 1
    made.append(ROWS)
    assert made.save().isdisjoint(first)
    made.assert_all_restore()


def test_a_cut_off_after_its_rows_were_written_is_another_block(tmp_path):
    made = LoggedShard(tmp_path, actors=2, frame=(64, 64, 3))
    for actor in range(2):
        made.append(5, actor=actor)
    made.shard.last[:] = False  # no game has ended
    before, written = made.save(), blocks(tmp_path)
    made.cut_off(actor=1)
    after = made.save()
    assert contents(made.shard) != made.saved[0][2]
    assert len(before) == len(after) == 2 and len(after - before) == 1
    assert written.items() < blocks(tmp_path).items(), "no block is written over"
    made.assert_all_restore()


def test_a_successor_keeps_what_the_last_checkpoint_has(tmp_path):
    made = LoggedShard(tmp_path, actors=1, rows=400)
    made.append(100)
    before = made.save()
    made.append(70)
    made.reopen()
    assert len(before & made.save()) == 1, "the last block, which a cut-off may have changed since, is written again"
    made.assert_all_restore()


def test_only_what_a_checkpoint_or_the_shard_needs_is_kept(tmp_path):
    made, other = LoggedShard(tmp_path, actors=1), LoggedShard(tmp_path, index=1, seed=1)
    other.append(30)
    others = blocks(tmp_path)
    for _ in range(8):
        made.append(ROWS // 2)
        made.save()
    for number in (7, 6, 5, 4, 3, 1, 0):
        made.drop(number)
    (tmp_path / "replay" / ".shard-00000.actor-00000.row.123.part").write_bytes(b"of a writer that was killed")
    made.log.sweep()
    assert len(blocks(tmp_path)) == len(others) + 4 and others.items() < blocks(tmp_path).items()
    assert list((tmp_path / "replay").glob(".*")) == []
    made.assert_all_restore()
    made.drop(0)
    made.log.sweep()
    assert len(blocks(tmp_path)) == len(others) + 2
    made.save()
    made.assert_all_restore()


def test_a_sweep_keeps_the_blocks_of_an_unfinished_checkpoint(tmp_path):
    made = LoggedShard(tmp_path, actors=1)
    made.append(ROWS)
    directory = checkpoint_dir(tmp_path, 9)
    directory.mkdir(parents=True)
    entries = made.log.sync()
    write_manifest(directory, entries, writer="replay_0")
    made.append(2 * ROWS)
    made.save()
    made.log.sweep()
    assert {Path(name).name for name in entries} < set(blocks(tmp_path))
    (directory / "manifest.replay_0.json").unlink()
    made.log.sweep()
    assert {Path(name).name for name in entries}.isdisjoint(blocks(tmp_path))


def test_a_manifest_that_cannot_be_read_stops_a_sweep(tmp_path, monkeypatch):
    made = LoggedShard(tmp_path, actors=1)
    made.append(ROWS)
    made.save()
    made.append(2 * ROWS)
    manifest = made.saved[0][0] / MANIFEST_FILE
    content = manifest.read_bytes()
    manifest.unlink()
    manifest.mkdir()  # reading it is an error of the system, not damage
    before = blocks(tmp_path)
    with pytest.raises(OSError):
        made.log.sweep()
    assert blocks(tmp_path) == before
    manifest.rmdir()
    manifest.write_bytes(content)
    made.assert_all_restore()


def test_two_writers_and_a_new_shard_beside_an_old_log(tmp_path):
    made = LoggedShard(tmp_path, actors=1)
    made.append(3)
    made.save()
    with pytest.raises(ValueError, match=f"written by process {os.getpid()} already"):
        ReplayLog.open(tmp_path, made.shard, index=0)
    ReplayLog.open(tmp_path, make_shard(), index=1).close()
    made.log.close()
    with pytest.raises(ValueError, match="has 3 ticks of actor 0, shard 0 has 0: resume the run"):
        ReplayLog.open(tmp_path, make_shard(actors=1), index=0)
    made.reopen()
    with pytest.raises(ValueError, match=r"holds \[3\] ticks already"):
        made.restored(0, made.shard)


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ({"actors": 2}, "1 actors, not 2 actors"),
        ({"lanes": 3}, "2 lanes of each actor, not 3 lanes of each actor"),
        ({"frame": (5,)}, r"frame of \|u1 \[3\], not frame of \|u1 \[5\]"),
        ({"dtype": np.float32}, "not frame of <f4"),
        ({"rows": 2 * ROWS}, "lacks row 24 of actor 0; it needs 24 to 72"),
    ],
)
def test_another_shard_is_refused(tmp_path, other, words):
    made = LoggedShard(tmp_path, actors=1)
    made.append(3 * ROWS)
    made.save()
    shard = make_shard(**{"actors": 1, **other})
    with pytest.raises(ValueError, match=words):
        made.restored(0, shard)
    assert not shard.ticks.any() and not shard.frame.any()
