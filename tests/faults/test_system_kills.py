"""Whole runs whose actors and reanalyzers are killed under load. Contract rows 3 and 4. Learners: test_group_kills.py.

The default suite strikes each role once; SOAK=1 makes the contract's counts.
"""

import os
import random
import re
import signal
import time
from collections.abc import Sequence

import pytest

from speedyzero.checkpoint.weights_file import load_weights, newest
from speedyzero.observe.metrics import read_metrics
from speedyzero.runtime.role_process import WORKING
from speedyzero.runtime.wiring import REANALYZER
from speedyzero.shm import Board
from tests.faults.ring_contract import is_soak, reached, trials
from tests.faults.whole_run import WholeRun

VICTIMS = ("actor-0", REANALYZER)


class Standstill:
    """The longest time in which the loop of one of the processes made no turn, waits being turns too."""

    def __init__(self, board: Board, names: Sequence[str]):
        self._board = board
        self._turned = {name: (self._turns(name), time.monotonic()) for name in names if board.state(name) == WORKING}
        self.worst_s = 0.0

    def look(self) -> None:
        now = time.monotonic()
        for name, (turns, since) in self._turned.items():
            if self._turns(name) != turns:
                self._turned[name] = (self._turns(name), now)
            else:
                self.worst_s = max(self.worst_s, now - since)

    def _turns(self, name: str) -> int:
        return self._board.counter(name, "rounds")


def strike(run: WholeRun, names: Sequence[str]) -> tuple[float, float]:
    """SIGKILL processes at once; the seconds until their successors work, and for which a survivor stood still."""
    pids = {name: run.pid_of(name) for name in names}
    survivors = Standstill(run.board, [name for name in run.wiring.processes if name not in names])
    for pid in pids.values():
        os.kill(pid, signal.SIGKILL)

    def replaced() -> bool:
        survivors.look()
        return all(run.pid_of(name) != pids[name] and run.board.state(name) == WORKING for name in names)

    return run.wait_for(replaced, f"successors of {names}"), survivors.worst_s


@pytest.mark.contract(3, 4)
def test_killed_actors_and_reanalyzers_are_replaced_and_the_run_ends_well(tmp_path):
    """One after the other, and in every second run both at once."""
    kills = 5 if is_soak() else 1  # of each in a run: as often as it is replaced
    worst_s = stood_still_s = 0.0
    for trial in trials(3, 10):
        run_dir, rng = tmp_path / f"{trial}", random.Random(trial)
        strikes = [VICTIMS] * kills if trial % 2 else [VICTIMS[:1], VICTIMS[1:]] * kills
        with WholeRun.start(run_dir, "schedule.train_steps=300") as run:
            for train_step, names in zip(sorted(rng.sample(range(2, 250), len(strikes))), strikes, strict=True):
                run.wait_for_step(train_step)
                took_s, silent_s = strike(run, names)
                worst_s, stood_still_s = max(worst_s, took_s), max(stood_still_s, silent_s)
            output = run.ends()
        assert len(re.findall("died and is replaced .* by signal SIGKILL", output)) == 2 * kills
        metrics = {name: series.values[-1] for name, series in read_metrics(run_dir).items()}
        assert metrics["supervisor/restarts"] == 2 * kills
        for ring in run.wiring.rings:
            assert metrics[f"ring/{ring.name}/unaccounted"] == metrics[f"ring/{ring.name}/dropped"] == 0
        # A reanalyzer that dies between the append and the release finds the record again and appends it once.
        assert metrics["ring/steps.actor-0/consumed"] * 16 >= 1000
        assert load_weights(newest(run_dir)).meta["step"] == 300
    count = (trial + 1) * kills
    reached(3, counts={"kills of actors": count, "kills of reanalyzers": count}, worst_s=worst_s)
    reached(4, counts={"in whole runs": 2 * count}, worst_s=stood_still_s)
