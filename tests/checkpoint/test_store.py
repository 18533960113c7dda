"""Whole checkpoints: read as they were written, there or not there whatever happens, never silently another."""

import errno
import os

import pytest
import torch

from speedyzero.checkpoint.manifest import MANIFEST_FILE, checkpoint_dir, entry_of, read_manifest, write_manifest
from speedyzero.checkpoint.snapshot import Snapshot, encode_part, take_snapshot
from speedyzero.checkpoint.store import CheckpointStore, SaveError, write_share
from speedyzero.checkpoint.stored import newest_valid, open_checkpoint, resumable
from speedyzero.checkpoint.weights_file import load_weights, newest, save_weights
from speedyzero.topology.role_state import RoleState
from tests.checkpoint.failing_calls import Crash, FailingCalls

META = {"preset": "catch", "game": "Catch", "num_actions": 3, "score": None}


def weights_of(step: int) -> dict[str, torch.Tensor]:
    return {"w": torch.arange(8.0) + step}


def snapshot_of(step: int) -> Snapshot:
    return take_snapshot(
        meta={"step": step, **META},
        weights=weights_of(step),
        state={"counter": step},
        parts={"learner": RoleState({"lr": step / 7}, {"m": torch.full((3,), float(step))})},
    )


def write_steps(run_dir, *steps) -> None:
    with CheckpointStore(run_dir) as store:
        for step in steps:
            store.write(snapshot_of(step))


def assert_is(checkpoint, step) -> None:
    assert checkpoint.step == step
    assert checkpoint.document("state") == {"counter": step}
    learner = checkpoint.part("learner")
    assert learner.document == {"lr": step / 7} and learner.array("m").tolist() == [step] * 3
    assert torch.equal(checkpoint.tensors("weights")["w"], weights_of(step)["w"])


def test_round_trip(tmp_path):
    write_steps(tmp_path, 5)
    assert_is(open_checkpoint(checkpoint_dir(tmp_path, 5)), 5)
    assert_is(newest_valid(tmp_path), 5)
    saved = load_weights(checkpoint_dir(tmp_path, 5))  # what `evaluate` reads of it
    assert torch.equal(saved.state["w"], weights_of(5)["w"]) and saved.meta["step"] == 5
    with pytest.raises(ValueError, match="not one of its files"):
        open_checkpoint(checkpoint_dir(tmp_path, 5)).document("nothing")


def write_shares(run_dir, step, at=9) -> None:
    """The files of two writers, and the lists of them."""
    snapshot = snapshot_of(step)
    write_share(run_dir, step, "learner", snapshot.contents(), written={})
    replay = encode_part("replay_0", RoleState({"at": at}, {"p": torch.ones(2)}))
    write_share(run_dir, step, "replay_0", replay, written=written_block(run_dir))


def written_block(run_dir) -> dict:
    path = run_dir / "replay" / "block"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"rows")
    return {"../../replay/block": entry_of(b"rows")}


def test_what_several_processes_wrote_is_one_checkpoint(tmp_path):
    write_shares(tmp_path, 3)
    assert resumable(tmp_path) == []
    with CheckpointStore(tmp_path) as store:
        store.finish(3, writers=("learner", "replay_0"))
        write_shares(tmp_path, 4)
        with pytest.raises(ValueError, match="manifest.replay_1.json"):
            store.finish(4, writers=("learner", "replay_0", "replay_1"))
    checkpoint = newest_valid(tmp_path)
    assert_is(checkpoint, 3)
    assert checkpoint.document("replay_0") == {"at": 9} and checkpoint.tensors("replay_0")["p"].tolist() == [1, 1]
    assert checkpoint.content("../../replay/block") == b"rows"
    assert list(checkpoint.directory.glob("manifest*")) == [checkpoint.directory / MANIFEST_FILE]
    assert not checkpoint_dir(tmp_path, 4).exists()
    with pytest.raises(ValueError, match="never written over"):
        write_shares(tmp_path, 3, at=10)
    (tmp_path / "replay" / "block").write_bytes(b"roes")
    with pytest.raises(ValueError, match="damaged: ../../replay/block has 4 bytes"):
        newest_valid(tmp_path)


def test_a_save_adds_to_weights_that_were_saved_before(tmp_path):
    save_weights(checkpoint_dir(tmp_path, 6), weights_of(6), {"step": 6, **META})
    assert resumable(tmp_path) == []
    write_steps(tmp_path, 6)
    assert_is(newest_valid(tmp_path), 6)
    write_steps(tmp_path, 6)  # again, the same: nothing to do
    other = take_snapshot(meta={"step": 6, **META}, weights=weights_of(7), state={})
    with CheckpointStore(tmp_path) as store, pytest.raises(ValueError, match="never written over"):
        store.write(other)
    assert_is(newest_valid(tmp_path), 6)


def test_the_highest_step_wins_and_weights_alone_are_passed_over(tmp_path):
    write_steps(tmp_path, 99, 1_000_000_000, 999_999_999)
    save_weights(checkpoint_dir(tmp_path, 2_000_000_000), weights_of(0), {"step": 2_000_000_000, **META})
    assert_is(newest_valid(tmp_path), 1_000_000_000)


@pytest.mark.parametrize(("version", "words"), [(3, "format version 3; this program reads 2"), (1, "resume it with")])
def test_another_format_version_is_refused(tmp_path, version, words):
    write_steps(tmp_path, 1)
    manifest = checkpoint_dir(tmp_path, 1) / MANIFEST_FILE
    manifest.write_text(manifest.read_text().replace('"format_version": 2', f'"format_version": {version}'))
    for refused in (lambda: open_checkpoint(manifest.parent), lambda: newest_valid(tmp_path)):
        with pytest.raises(ValueError, match=words):
            refused()
    if version == 1:
        assert torch.equal(load_weights(manifest.parent).state["w"], weights_of(1)["w"])


def save(store, step, how) -> None:
    if how == "whole after its weights":
        save_weights(checkpoint_dir(store.run_dir, step), weights_of(step), {"step": step, **META})
    if how == "in shares":
        write_shares(store.run_dir, step)
        store.finish(step, writers=("learner", "replay_0"))
    else:
        store.write(snapshot_of(step))


FAILURES = {"crash": Crash, "ENOSPC": lambda: OSError(errno.ENOSPC, "full")}


@pytest.mark.parametrize(
    ("how", "failure"),
    [("whole", name) for name in FAILURES] + [("whole after its weights", "crash"), ("in shares", "crash")],
)
def test_a_failure_of_any_call_leaves_the_old_checkpoint_or_the_new(tmp_path, how, failure):
    """And the next save after it succeeds and leaves nothing of the failed one behind."""
    failures = olds = 0
    for attempt in range(1, 200):
        run_dir = tmp_path / str(attempt)
        write_steps(run_dir, 1)
        with pytest.MonkeyPatch.context() as patch, CheckpointStore(run_dir) as store:
            calls = FailingCalls(patch)
            calls.begin(fail_at=attempt, failure=FAILURES[failure])
            try:
                save(store, 2, how)
                if failure == "crash":
                    store.prune(keep_last=2)
            except Crash:
                pass
            except SaveError as error:
                assert error.errno == getattr(errno, failure) and "step 2 was not saved" in str(error)
                assert list(checkpoint_dir(run_dir, 2).glob(".*")) == []
            else:
                break
            finally:
                calls.end()
        failures += 1
        found = newest_valid(run_dir)
        assert_is(found, found.step)
        olds += found.step == 1
        assert newest(run_dir) is not None
        with CheckpointStore(run_dir) as store:
            for step in (2, 3):
                save(store, step, how)
            store.prune(keep_last=2)
        assert_is(newest_valid(run_dir), 3)
        left = [path for path in run_dir.rglob("*") if path.suffix == ".part" or path.match("manifest.*.json")]
        assert not left and [int(path.name[5:]) for path in resumable(run_dir)] == [3, 2]
    assert failures > 15 and olds > 10


def test_prune_keeps_the_last_whole_and_the_best_weights(tmp_path):
    write_steps(tmp_path, 1, 2, 3, 4, 5)
    save_weights(checkpoint_dir(tmp_path, 6), weights_of(6), {"step": 6, **META})
    with CheckpointStore(tmp_path) as store:
        store.prune(keep_last=2, keep_weights_of=(2,))
        assert resumable(tmp_path) == [checkpoint_dir(tmp_path, step) for step in (5, 4)]
        assert torch.equal(load_weights(checkpoint_dir(tmp_path, 2)).state["w"], weights_of(2)["w"])
        assert sorted(path.name for path in checkpoint_dir(tmp_path, 2).iterdir()) == [
            *("manifest.json", "meta.json", "weights.safetensors")
        ]
        load_weights(checkpoint_dir(tmp_path, 6))
        for step in (1, 3):
            assert not checkpoint_dir(tmp_path, step).exists()
        with pytest.raises(ValueError, match="keep_last=0"):
            store.prune(keep_last=0)


def test_prune_leaves_one_in_the_making_alone_and_tidies_after_crashes(tmp_path):
    write_shares(tmp_path, 2)
    write_steps(tmp_path, 5)
    write_shares(tmp_path, 7)
    with CheckpointStore(tmp_path) as store:
        store.prune(keep_last=1)
    assert not checkpoint_dir(tmp_path, 2).exists()
    assert (checkpoint_dir(tmp_path, 7) / "replay_0.json").exists()


def test_later_checkpoints_are_set_aside(tmp_path, caplog):
    write_steps(tmp_path, 1, 2, 3)
    with CheckpointStore(tmp_path) as store:
        aside = store.set_aside_after(1)
        assert [path.name for path in aside] == ["aside_001_step_000000003", "aside_001_step_000000002"]
        assert_is(newest_valid(tmp_path), 1)
        store.write(snapshot_of(2))
        assert [path.name for path in store.set_aside_after(1)] == ["aside_002_step_000000002"]
        assert store.set_aside_after(1) == []
    assert_is(newest_valid(tmp_path), 1)
    assert "2 later checkpoints are set aside" in caplog.text


def test_one_writer_at_a_time(tmp_path):
    with CheckpointStore(tmp_path), pytest.raises(ValueError, match=f"being written by process {os.getpid()} already"):
        CheckpointStore(tmp_path)
    write_steps(tmp_path, 1)


def test_a_manifest_that_lists_a_file_outside_is_refused(tmp_path):
    write_steps(tmp_path, 1)
    entries = read_manifest(checkpoint_dir(tmp_path, 1)).files
    for name in ("../x", "../../x", "../../replay/../x", "/x", "../../replay//x"):
        write_manifest(checkpoint_dir(tmp_path, 1), {**entries, name: entries["meta.json"]})
        with pytest.raises(ValueError, match="outside"):
            open_checkpoint(checkpoint_dir(tmp_path, 1))
