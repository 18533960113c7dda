import os
import secrets
import time

import pytest

from speedyzero.shm import Doorbell, Run, WeightSlots, WeightSlotsSpec, remove_run, sweep_dead_runs
from speedyzero.shm.liveness import current_process, place
from speedyzero.shm.run import PREFIX, SHM_MOUNT

WEIGHTS = WeightSlotsSpec("a", 1000)


def dead_run(shm_dir=None, *, where=None):
    """A run whose owner had our pid before us."""
    me = current_process()
    return Run(f"{me.pid}-{me.start_ticks - 1:x}-{where or place()}-{secrets.token_hex(4)}", shm_dir)


def names_of(run):
    return {path.name for folder in {SHM_MOUNT, run.directory} for path in folder.iterdir() if run.run_id in path.name}


@pytest.fixture
def runs(tmp_path):
    made = []
    yield made
    for run in made:
        remove_run(run)


def litter(run, runs):
    runs.append(run)
    WeightSlots.create(run, WEIGHTS)
    Doorbell.create(run, "a.items")
    (run.directory / run.object_name("half")).touch(0o600)  # its creator died before the header
    return run


@pytest.mark.parametrize("on_disk", [False, True])
def test_the_dead_are_swept_and_only_they(runs, tmp_path, on_disk):
    shm_dir = str(tmp_path) if on_disk else None
    dead, live = litter(dead_run(shm_dir), runs), litter(Run.new(shm_dir), runs)
    elsewhere = litter(dead_run(shm_dir, where="0" * 8), runs)
    seen = sweep_dead_runs(shm_dir, remove=False).removed
    assert sum(dead.run_id in path for path in seen) == 3 == len(names_of(dead)), "removes nothing"
    report = sweep_dead_runs(shm_dir)
    assert names_of(dead) == set()
    assert len(names_of(live)) == len(names_of(elsewhere)) == 3
    assert live.run_id in report.live_runs
    assert not any(live.run_id in path or elsewhere.run_id in path for path in report.removed)
    WeightSlots.attach(live, WEIGHTS)
    assert len(remove_run(live)) == 3 and names_of(live) == set()


def test_a_semaphore_that_never_got_its_name_is_swept():
    """The C library makes `sem.XXXXXX` first; one that holds something, or is young, may be somebody's."""
    old, young, written = (SHM_MOUNT / f"sem.{secrets.token_hex(3)}" for _ in range(3))
    longer = SHM_MOUNT / f"sem.{secrets.token_hex(4)}"
    try:
        for path in (old, young, written, longer):
            path.touch(0o600)
        written.write_bytes(bytes(32))
        for path in (old, written, longer):
            os.utime(path, (time.time() - 100, time.time() - 100))
        assert str(old) in sweep_dead_runs().removed
        assert not old.exists() and young.exists() and written.exists() and longer.exists()
    finally:
        for path in (old, young, written, longer):
            path.unlink(missing_ok=True)


def test_names_that_are_not_ours_stay():
    """Also those that look nearly like ours, and what is no plain file."""
    run = dead_run()
    strange = [
        SHM_MOUNT / f"{PREFIX}.{run.run_id}",
        SHM_MOUNT / f"{PREFIX}x.{run.run_id}.a",
        SHM_MOUNT / f"{run.object_name('a')} (copy)",
        SHM_MOUNT / f"nccl-{secrets.token_hex(3)}",  # names no process
    ]
    folder = SHM_MOUNT / run.object_name("folder")
    link = SHM_MOUNT / run.object_name("link")
    try:
        for path in strange:
            path.touch(0o600)
            os.utime(path, (0, 0))
        folder.mkdir()
        link.symlink_to("/etc/passwd")
        sweep_dead_runs()
        assert all(path.exists() for path in [*strange, folder]) and link.is_symlink()
    finally:
        for path in [*strange, link]:
            path.unlink(missing_ok=True)
        folder.rmdir()


def test_what_belongs_to_another_user_stays(runs, monkeypatch):
    run = litter(dead_run(), runs)
    uid = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: uid + 1)
    assert sweep_dead_runs().removed == () and remove_run(run) == ()
    monkeypatch.undo()
    assert len(names_of(run)) == 3
