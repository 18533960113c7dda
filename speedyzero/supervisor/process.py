"""A whole run as processes: make the shared memory, start the roles, watch them, end everything cleanly.

    sweep dead runs -> check space -> create -> start learner, reanalyzer, actors -> all WORKING
    watch: drain metrics, read the gauges, show progress, replace the dead, have new checkpoints scored
    learner DONE or Ctrl-C -> stop flag -> join -> kill what is left -> remove shared memory -> final evaluation

Everything shared is made here, before anybody starts, so no order of starting matters.
"""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from speedyzero.config import Config
from speedyzero.observe.run_dir import create_run_dir, run_log
from speedyzero.records import METRIC_NAMES, MetricRecord
from speedyzero.resolve import save_config
from speedyzero.role_process import set_title
from speedyzero.shm import (
    Board,
    Consumer,
    Doorbell,
    Ring,
    SharedArrays,
    WeightSlots,
    remove_run,
)
from speedyzero.supervisor.crew import Crew
from speedyzero.supervisor.evaluations import Evaluations
from speedyzero.supervisor.gauges import Gauges
from speedyzero.supervisor.keeper import RunKeeper, print_plan, print_summary
from speedyzero.supervisor.placement_table import print_placement
from speedyzero.supervisor.space import wire_where_it_fits
from speedyzero.wiring import LEARNER, REANALYZER, Wiring, bell_of

TICK_S = 0.05
log = logging.getLogger("speedyzero.supervisor")


def train(config: Config) -> Path:
    """Train as processes, evaluate and save as configured; the run directory.

    Raises SegmentError (a ValueError) where shared memory does not suffice, before anything starts; RunFailed where
    a role cannot be kept alive; KeyboardInterrupt after an orderly stop.
    """
    set_title("supervisor")
    wiring = wire_where_it_fits(config)
    run_dir = create_run_dir(game=config.env.game, preset=config.preset, seed=config.seed, run_dir=config.run_dir)
    save_config(config, run_dir / "config.yaml")
    print_plan(config, run_dir, processes=f"{len(wiring.processes) + 1} processes")
    print_placement(config, wiring)
    with run_log(run_dir), Interrupts() as interrupts:
        started_s = time.monotonic()
        keeper = RunKeeper(config, run_dir)
        try:
            steps = _run(config, wiring, run_dir, keeper, interrupts)
            trained_s = time.monotonic() - started_s
            interrupts.raise_from_now_on()
            result = keeper.finish(steps["train_steps"])
        finally:
            keeper.close()
        log.info("trained in %.1f s, score %s", trained_s, result)
    print_summary(run_dir, result, duration_s=trained_s, **steps)
    return run_dir


class Interrupts:
    """Counts SIGINT and SIGTERM instead of raising: the first ends the run in order, more of them hurry."""

    def __init__(self) -> None:
        self.count = 0
        self._raises = False

    def __enter__(self) -> Interrupts:
        self._before = {number: signal.signal(number, self._note) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def raise_from_now_on(self) -> None:
        """Raise KeyboardInterrupt for the signals that came and for those to come: all others have ended."""
        self._raises = True
        if self.count:
            raise KeyboardInterrupt

    def _note(self, *_: object) -> None:
        self.count += 1
        if self._raises:
            raise KeyboardInterrupt


def _run(config: Config, wiring: Wiring, run_dir: Path, keeper: RunKeeper, interrupts: Interrupts) -> dict[str, int]:
    """The roles from start to stop; the steps done. Shared memory is gone when it returns, or raises."""
    try:
        board = create_shared(wiring)
        metrics = [Ring.attach(wiring.run, spec).consumer() for spec in wiring.metrics]
        gauges = Gauges(wiring, board, keeper.metrics, interval_s=config.supervisor.record_interval_s)
        crew = Crew(config, wiring, run_dir, board, note=keeper.note)
        evaluations = Evaluations(config, run_dir, keeper)
        try:
            crew.start(interrupted=lambda: interrupts.count > 0)
            while not crew.learner_done and not interrupts.count:
                keeper.record(_drain(wiring, metrics))
                keeper.progress(**_steps(board))
                gauges.follow()
                crew.look_after()
                evaluations.follow(board.counter(LEARNER, "checkpoint_step"))
                time.sleep(TICK_S)
        finally:
            if interrupts.count:
                keeper.note("interrupted: saving the weights and ending (once more to hurry)")
            crew.stop(interruptions=lambda: interrupts.count)
            evaluations.stop(give_up=lambda: interrupts.count > 0 or not crew.learner_done)
            keeper.record(_drain(wiring, metrics))
            gauges.record_all()
        keeper.progress(**_steps(board))
        return _steps(board)
    finally:
        remove_run(wiring.run)


def create_shared(wiring: Wiring) -> Board:
    """Every shared object of the run; the board, which the supervisor goes on using."""
    run = wiring.run
    for process in wiring.board.rows:
        Doorbell.create(run, bell_of(process)).close()
    for ring in wiring.rings:
        Ring.create(run, ring).close()
    for slots in (wiring.weights, wiring.targets):
        WeightSlots.create(run, slots).close()
    for shard in wiring.shards:
        SharedArrays.create(run, shard).close()
    run.meeting_file.touch(mode=0o600, exist_ok=False)
    return Board.create(run, wiring.board)


def _drain(wiring: Wiring, consumers: list[Consumer]) -> Iterator[MetricRecord]:
    """Every metric there is. What reanalyzers count is told apart by their shards."""
    for process, consumer in zip(wiring.processes, consumers, strict=True):
        is_further_shard = process.startswith("reanalyzer-") and process != REANALYZER
        while (packed := consumer.get()) is not None:
            name = METRIC_NAMES[packed.name]
            if is_further_shard:
                name = name.replace("reanalyzer/", f"{process}/")
            yield MetricRecord(name, packed.step, packed.value)


def _steps(board: Board) -> dict[str, int]:
    return {"env_steps": board.total("env_steps"), "train_steps": board.total("train_steps")}
