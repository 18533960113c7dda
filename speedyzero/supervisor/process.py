"""A whole run as processes: make the shared memory, start the roles, watch them, end everything cleanly.

    sweep dead runs -> check space -> create -> start learner, reanalyzer, actors -> all WORKING
    watch: drain metrics, show progress, replace the dead, have new checkpoints scored
    learner DONE or Ctrl-C -> stop flag -> join -> kill what is left -> remove shared memory -> final evaluation

Everything shared is made here, before anybody starts, so no order of starting matters.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Iterator
from multiprocessing.process import BaseProcess
from pathlib import Path

from speedyzero.config import Config
from speedyzero.env.registry import GameInfo, check_game
from speedyzero.evaluate import process as evaluate_process
from speedyzero.observe.run_dir import create_run_dir, run_log
from speedyzero.records import METRIC_NAMES, MetricRecord
from speedyzero.resolve import save_config
from speedyzero.shm import (
    Board,
    Consumer,
    Doorbell,
    Ring,
    Run,
    SharedArrays,
    WeightSlots,
    remove_run,
    require_space,
    sweep_dead_runs,
)
from speedyzero.supervisor.crew import Crew, threads_per_process
from speedyzero.supervisor.keeper import RunKeeper, print_plan, print_summary
from speedyzero.wiring import LEARNER, SUPERVISOR, Wiring, bell_of, wire

TICK_S = 0.05
log = logging.getLogger("speedyzero.supervisor")


def train(config: Config) -> Path:
    """Train as processes, evaluate and save as configured; the run directory.

    Raises SegmentError (a ValueError) where shared memory does not suffice, before anything starts; RunFailed where
    a role cannot be kept alive; KeyboardInterrupt after an orderly stop.
    """
    game = check_game(config.env)
    sweep_dead_runs(config.shm_dir or None)
    wiring = wire(config, Run.new(config.shm_dir or None), game.spec, game.num_actions)
    require_space(wiring.run, wiring.total_bytes)
    run_dir = create_run_dir(game=config.env.game, preset=config.preset, seed=config.seed, run_dir=config.run_dir)
    save_config(config, run_dir / "config.yaml")
    print_plan(config, run_dir, processes=f"{len(wiring.processes) + 1} processes")
    print_placement(config, wiring)
    with run_log(run_dir), Interrupts() as interrupts:
        started_s = time.monotonic()
        keeper = RunKeeper(config, run_dir)
        try:
            board = _run(config, game, wiring, run_dir, keeper, interrupts)
            trained_s = time.monotonic() - started_s
            if interrupts.count:
                raise KeyboardInterrupt
            result = keeper.finish(board["train_steps"])
        finally:
            keeper.close()
        log.info("trained in %.1f s, score %s", trained_s, result)
    print_summary(run_dir, result, duration_s=trained_s, **board)
    return run_dir


class Interrupts:
    """Counts SIGINT and SIGTERM instead of raising: the first ends the run in order, the second hurries."""

    def __init__(self) -> None:
        self.count = 0

    def __enter__(self) -> Interrupts:
        self._before = {number: signal.signal(number, self._note) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, *_: object) -> None:
        self.count += 1


def _run(
    config: Config, game: GameInfo, wiring: Wiring, run_dir: Path, keeper: RunKeeper, interrupts: Interrupts
) -> dict[str, int]:
    """The roles from start to stop; the steps done. Shared memory is gone when it returns, or raises."""
    try:
        board = _create(wiring)
        metrics = [Ring.attach(wiring.run, spec).consumer() for spec in wiring.metrics]
        crew = Crew(config, wiring, run_dir, board, note=keeper.note)
        evaluator = Evaluator(config, run_dir, keeper)
        try:
            crew.start(interrupted=lambda: interrupts.count > 0)
            while not crew.learner_done and not interrupts.count:
                keeper.record(_drain(metrics))
                steps = {"env_steps": board.total("env_steps"), "train_steps": board.total("train_steps")}
                keeper.progress(**steps)
                crew.replace_dead()
                evaluator.follow(board.counter(LEARNER, "checkpoint_step"))
                time.sleep(TICK_S)
        finally:
            if interrupts.count:
                keeper.note("interrupted: saving the weights and ending (once more to hurry)")
            crew.stop(hurry=lambda: interrupts.count > 1)
            evaluator.stop(wait=not interrupts.count and crew.learner_done)
        keeper.record(_drain(metrics))
        steps = {"env_steps": board.total("env_steps"), "train_steps": board.total("train_steps")}
        keeper.progress(**steps)
        _record_time(board, wiring, keeper, steps["train_steps"])
        return steps
    finally:
        remove_run(wiring.run)


def _create(wiring: Wiring) -> Board:
    """Every shared object of the run; the board, which the supervisor goes on using."""
    run = wiring.run
    for process in wiring.board.rows:
        Doorbell.create(run, bell_of(process)).close()
    for ring in wiring.rings:
        Ring.create(run, ring).close()
    for slots in (wiring.weights, wiring.targets):
        WeightSlots.create(run, slots).close()
    SharedArrays.create(run, wiring.shard).close()
    return Board.create(run, wiring.board)


def _drain(consumers: list[Consumer]) -> Iterator[MetricRecord]:
    for consumer in consumers:
        while (packed := consumer.get()) is not None:
            yield MetricRecord(METRIC_NAMES[packed.name], packed.step, packed.value)


def _record_time(board: Board, wiring: Wiring, keeper: RunKeeper, train_steps: int) -> None:
    """Where each process's time went, in seconds, into the metrics."""
    for process in wiring.processes:
        for counter in wiring.board.counters:
            if counter.endswith("_ns"):
                seconds = board.counter(process, counter) / 1e9
                keeper.metrics.write(f"time/{process}/{counter.removesuffix('_ns')}_s", seconds, train_steps)
    keeper.metrics.write("supervisor/restarts", board.counter(SUPERVISOR, "restarts"), train_steps)


class Evaluator:
    """At most one evaluator process at a time; the newest checkpoint is scored, ones it missed are not."""

    def __init__(self, config: Config, run_dir: Path, keeper: RunKeeper):
        self._config, self._run_dir, self._keeper = config, run_dir, keeper
        self._process: BaseProcess | None = None
        self._step = 0

    def follow(self, checkpoint_step: int) -> None:
        """Book a score that has come in; have a new checkpoint scored. The final one is left to the supervisor."""
        if self._process is not None and not self._process.is_alive():
            self._book()
        is_last = checkpoint_step >= self._config.schedule.total_train_steps
        if self._process is None and checkpoint_step > self._step and not is_last:
            self._step = checkpoint_step
            self._process = multiprocessing.get_context("spawn").Process(
                target=evaluate_process.main,
                args=(self._config, self._run_dir, checkpoint_step, os.getpid()),
                name="speedyzero-evaluator",
            )
            self._process.start()

    def stop(self, *, wait: bool) -> None:
        """End an evaluation: wait for its score, or give it up."""
        if self._process is None:
            return
        if not wait:
            self._process.kill()
        self._book()

    def _book(self) -> None:
        assert self._process is not None
        self._process.join()
        if self._process.exitcode == 0:
            self._keeper.book_score(self._step)
        else:
            self._keeper.note(f"the evaluation of train step {self._step} ended with {self._process.exitcode}")
        self._process = None


def print_placement(config: Config, wiring: Wiring) -> None:
    """Who runs where, and what lies in shared memory."""
    device, threads = "cuda:0" if config.gpus else "cpu", threads_per_process(len(wiring.processes))
    print(f"{'process':14} {'device':8} {'threads':>7}  reads")
    reads = {SUPERVISOR: ", ".join(ring.name for ring in wiring.metrics)}
    for process in wiring.processes:
        rings = [ring.name for ring in wiring.rings if ring.consumer_bell == bell_of(process)]
        slots = {"actor": ["weights"], "reanalyzer": ["targets"], "learner": ["shard"]}[process.split("-")[0]]
        reads[process] = ", ".join(rings + slots)
    for process, names in reads.items():
        is_role = process != SUPERVISOR
        print(f"{process:14} {device if is_role else 'cpu':8} {threads if is_role else 1:>7}  {names}")
    parts = ", ".join(f"{name} {size / 2**20:.2f}" for name, size in wiring.sizes)
    print(f"shared memory {wiring.total_bytes / 2**20:.1f} MiB in {wiring.run.directory}: {parts}", flush=True)
    sys.stdout.flush()
