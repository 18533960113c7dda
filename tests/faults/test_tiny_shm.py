"""Shared memory of every size: refused before anything starts, or enough to the end. Contract row 15."""

import mmap
from pathlib import Path

import pytest

from speedyzero.arguments.resolve import resolve
from speedyzero.env.registry import check_game
from speedyzero.runtime.wiring import wire
from speedyzero.shm import Run
from speedyzero.supervisor.space import SharedNeed, shared_need
from tests.faults.rights import go_without, need_root
from tests.faults.ring_contract import is_soak, reached
from tests.faults.tiny_shm import Outcome, Try, outcomes
from tests.faults.whole_run import SHORT

PAGE = mmap.PAGESIZE
BRIEF = (*SHORT, "schedule.train_steps=20", "evaluate.episodes=4")


def words(run_dir: Path, *settings: str) -> list[str]:
    return ["--game", "Catch", "--gpus", "0", "--run-dir", str(run_dir), *BRIEF, *settings]


def need() -> SharedNeed:
    config = resolve("catch", "Catch", 0, 0, None, list(BRIEF))
    game = check_game(config.env)
    return shared_need(wire(config, Run.new(), game.spec, game.num_actions))


def assert_refused(outcome: Outcome, folder: str, *, needed: int, free: int, way_out: str, run_dir: Path) -> None:
    assert outcome.code == 2 and outcome.output.count("\n") == 1, outcome
    for part in (f"{needed:,} bytes", f"{folder} has {free:,} free", way_out):
        assert part in outcome.output, outcome.output
    assert outcome.left == [] and not run_dir.exists()


@pytest.mark.contract(15)
def test_sizes_of_shared_memory_and_the_way_out(tmp_path):
    """shm_dir= is the way out, checked in the same way; with room in it a /dev/shm for the semaphores is enough.

    In the default suite one process is asked. That what suffices is enough: tests/supervisor/test_space.py.
    """
    need_root("mount a tmpfs")
    segments, bells, folder = need().segments, need().bells, tmp_path / "segments"
    folder.mkdir()
    needed = segments + bells
    too_small = [PAGE, 16 * PAGE, needed // 4, needed // 2, 3 * needed // 4, needed - 16 * PAGE, needed - PAGE]
    enough = [needed, needed + PAGE, 2 * needed]
    sizes = [size // PAGE * PAGE for size in (*too_small, *(enough if is_soak() else enough[:1]))]
    tries = [Try(words(tmp_path / str(size)), {"/dev/shm": size}, whole=is_soak()) for size in sizes]
    for run, free, free_there in (
        ("small", bells, segments - PAGE),
        ("none", bells - PAGE, segments),
        ("enough", bells, segments),
    ):
        there = words(tmp_path / run, f"shm_dir={folder}")
        tries.append(Try(there, {"/dev/shm": free, str(folder): free_there}, whole=is_soak() and run == "enough"))
    done = outcomes(tries)
    if done is None:
        go_without("this machine lets nobody mount a tmpfs")
    *by_size, small, none, there_is_room = done
    for size, outcome in zip(sizes, by_size, strict=True):
        run_dir = tmp_path / str(size)
        if size < needed:
            way_out = "--shm-size=..., mount -o remount,size=... /dev/shm) or set shm_dir="
            assert_refused(outcome, "/dev/shm", needed=needed, free=size, way_out=way_out, run_dir=run_dir)
        else:
            assert outcome.code == 0 and outcome.left == [], outcome
            assert (run_dir / "scores.json").exists() == is_soak()
    at, free = str(folder), {"needed": segments, "free": segments - PAGE}
    assert_refused(small, at, **free, way_out="shm_dir= to a directory with more", run_dir=tmp_path / "small")
    free = {"needed": bells, "free": bells - PAGE}
    assert_refused(none, "/dev/shm", **free, way_out="semaphores stay in /dev/shm", run_dir=tmp_path / "none")
    assert there_is_room.code == 0 and there_is_room.left == [], there_is_room
    reached(15, counts={"sizes of a tiny tmpfs": len(sizes)})
    reached(15, "shm_dir=: too small refused, with room taken")
