"""Dead runs are swept and only they; runs side by side never meet; nobody else gets in. Contract rows 8, 9 and 19."""

import os
import random
import time
from dataclasses import replace

import pytest

from speedyzero.shm import Board, Doorbell, Ring, Run, SegmentError, WeightSlots, remove_run, sweep_dead_runs
from speedyzero.shm.run import SHM_MOUNT
from tests.faults.rights import NOBODY, as_nobody
from tests.faults.ring_child import Child, Setup
from tests.faults.ring_contract import reached, share

UID_OFFSET = 24  # of the header's uid


@pytest.fixture
def live(run):
    """A run with one of everything, in use."""
    setup = Setup(run)
    setup.create_ring()
    Board.create(setup.run, setup.board)
    return setup


def names_of(run_id, *more):
    return [path for folder in (SHM_MOUNT, *more) for path in folder.iterdir() if run_id in path.name]


@pytest.mark.contract(8)
def test_dead_runs_are_swept_beside_a_live_one(live, tmp_path):
    runs, rng = share(20), random.Random(5)
    producer, consumer = Ring.attach(live.run, live.ring).producer(), Ring.attach(live.run, live.ring).consumer()
    for i in range(runs):
        dead = Child("litter", live, on_disk=str(tmp_path) if i % 4 >= 2 else "")
        dead.go()
        run_id = dead.line()
        assert dead.line() == "made" and len(names_of(run_id, tmp_path)) == 6
        assert not any(run_id in path for path in sweep_dead_runs(tmp_path).removed), "it lives"
        if i % 2:  # in the middle of unlinking and making all anew
            dead.go()
            time.sleep(rng.uniform(0, 0.002))
        dead.kill()
        dead.wait()
        sweep_dead_runs(tmp_path)
        assert names_of(run_id, tmp_path) == []
        producer.begin().number[...] = i
        producer.commit()
        assert Ring.attach(live.run, live.ring).stats().in_flight == 1 and consumer.get().number == i
    assert len(names_of(live.run.run_id)) == 4
    reached(8, counts={"dead runs": runs})


@pytest.mark.contract(9)
def test_two_runs_started_at_once_never_meet(live):
    starts, count = share(20), 500
    for start in range(starts):
        pair = [Child("own_run", live, tag=2 * start + i, count=count) for i in (0, 1)]
        try:
            for child in pair:
                child.go()
            assert [child.wait() for child in pair] == [0, 0], "each reads its own records and weights, and only these"
        finally:
            for child in pair:
                child.close()
    assert len(names_of(live.run.run_id)) == 4, "their sweeps leave the third run alone"
    reached(9, counts={"starts of two runs": starts})


@pytest.mark.contract(19)
def test_what_another_user_laid_out_is_not_taken(live):
    """Somebody squats on the names that a run will use: an open segment, an open semaphore."""
    run = Run.new()
    setup = replace(live, run=run)
    before = os.umask(0)
    try:
        with as_nobody():
            os.close(os.open(SHM_MOUNT / run.object_name("messages"), os.O_CREAT | os.O_RDWR, 0o666))
            Doorbell.create(run, "bell")
            WeightSlots.create(run, setup.weights)
            for name in (run.object_name("weights"), "sem." + run.object_name("bell")):
                os.chmod(SHM_MOUNT / name, 0o666)
        for refused in (
            lambda: Ring.create(run, setup.ring),
            lambda: Ring.attach(run, setup.ring),
            lambda: WeightSlots.attach(run, setup.weights),
            lambda: Doorbell.create(run, "bell"),
            lambda: Doorbell.attach(run, "bell"),
        ):
            with pytest.raises(SegmentError):
                refused()
    finally:
        os.umask(before)
        with as_nobody():
            remove_run(run)
    assert names_of(run.run_id) == []
    reached(19, "segments and semaphores that another uid laid out: all refused")


@pytest.mark.contract(19)
def test_a_forged_header_does_not_help_another_user(live):
    """Everything is right, mode and header, only the file is not ours. Only root could open it at all."""
    run = Run.new()
    setup = replace(live, run=run)
    try:
        with as_nobody():
            WeightSlots.create(run, setup.weights)
            with open(SHM_MOUNT / run.object_name("weights"), "r+b") as file:
                file.seek(UID_OFFSET)
                file.write((0).to_bytes(8, "little"))
        with pytest.raises(SegmentError, match=f"belongs to uid {NOBODY}"):
            WeightSlots.attach(run, setup.weights)
    finally:
        with as_nobody():
            remove_run(run)
