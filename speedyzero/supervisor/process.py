"""A run as processes: create the shared memory, start the roles, watch them, shut down cleanly.

    remove dead runs' memory -> check space -> create -> start learner, reanalyzer, actors -> all WORKING
    watch: drain metrics, read gauges, show progress, replace dead processes, finish checkpoints, evaluate new ones
    learner group died -> end all processes -> restart from the last checkpoint
    learner DONE or Ctrl-C -> stop flag -> join -> kill what is left -> remove shared memory -> final evaluation

All shared memory is created before any process starts, so the order of starting does not matter.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from speedyzero.config import Config
from speedyzero.runtime.fork_server import ForkServer
from speedyzero.runtime.role_process import ResumePoint
from speedyzero.runtime.waits import role_of
from speedyzero.runtime.wiring import LEARNER, REANALYZER, Wiring, actor_name, bell_of
from speedyzero.shm import (
    Board,
    Consumer,
    Doorbell,
    Ring,
    SharedArrays,
    WeightSlots,
    remove_run,
)
from speedyzero.supervisor.crew import Crew, LearnerGroupDied
from speedyzero.supervisor.evaluations import Evaluations
from speedyzero.supervisor.gauges import Gauges
from speedyzero.supervisor.gpu_memory import expected_bytes, shortage, with_mirrors_chosen
from speedyzero.supervisor.interrupts import Interrupts
from speedyzero.supervisor.keeper import RunKeeper, print_plan, print_summary
from speedyzero.supervisor.limit_now import ProcessLimit
from speedyzero.supervisor.placement_table import print_placement
from speedyzero.supervisor.resume import OpenedRun, ResumedRun, go_back, last_checkpoint, opened_run, resume_point
from speedyzero.supervisor.run_profile import RunProfiler, profile_of
from speedyzero.supervisor.saves import Saves
from speedyzero.supervisor.space import wire_where_it_fits
from speedyzero.system.gpus import read_gpus
from speedyzero.system.host_figures import own_memory_bytes
from speedyzero.system.prctl import set_title
from speedyzero.topology.records import MetricRecord
from speedyzero.tracing.profile_window import ProfileRequest
from speedyzero.tracing.spans import Span

TICK_S = 0.05
_START, _DRAIN, _PROGRESS, _SLEEP = Span("start"), Span("drain_metrics"), Span("show_progress"), Span("sleep")
_GAUGES, _LOOK = Span("record_gauges"), Span("look_after")
_SAVES, _EVALUATIONS = Span("follow_saves"), Span("follow_evaluations")
log = logging.getLogger("speedyzero.supervisor")


@dataclass(frozen=True)
class _Session:
    """What outlives a restart after the death of the learner group."""

    config: Config
    opened: OpenedRun
    keeper: RunKeeper
    interrupts: Interrupts
    spans: RunProfiler
    server: ForkServer


def train(
    config: Config, server: ForkServer, resume: ResumedRun | None = None, *, profile: ProfileRequest | None = None
) -> Path:
    """Train as processes, evaluate and save as configured; returns the run directory.

    server: forks all processes of the run. profile: also write a trace.

    Raises SegmentError (a ValueError) if shared memory does not suffice, before anything starts; RunFailed if a role
    cannot be kept alive; KeyboardInterrupt after an orderly stop.
    """
    set_title("supervisor")
    wiring = wire_where_it_fits(config, profiled=profile is not None)
    with opened_run(config, resume) as opened:
        run_dir = opened.run_dir
        resumed_step = resume.step if resume else None
        print_plan(config, run_dir, processes=f"{len(wiring.processes) + 2} processes", resumed_step=resumed_step)
        print_placement(config, wiring)
        if config.gpus:
            gpus, expected = read_gpus(), expected_bytes(config, wiring)
            if lacks := shortage(expected, gpus):
                print(f"note: {lacks}", flush=True)
            config = with_mirrors_chosen(config, wiring, gpus, expected)
        with Interrupts() as interrupts:
            started_s = time.monotonic()
            keeper = RunKeeper(config, run_dir)
            spans = profile_of(profile, config, run_dir, note=keeper.note)
            try:
                with closing(spans):
                    steps = _run_on(_Session(config, opened, keeper, interrupts, spans, server), wiring, resume)
                trained_s = time.monotonic() - started_s
                interrupts.raise_from_now_on()
                result = keeper.finish(steps["train_steps"])
            finally:
                keeper.close()
            log.info("trained in %.1f s, score %s", trained_s, result)
    print_summary(run_dir, result, duration_s=trained_s, **steps)
    return run_dir


def _run_on(session: _Session, wiring: Wiring, resume: ResumedRun | None) -> dict[str, int]:
    """`_run`; restarts from the last checkpoint when the learner group dies, at most `checkpoint.restarts` times."""
    config, opened, keeper = session.config, session.opened, session.keeper
    restarts = 0
    while True:
        try:
            return _run(session, wiring, resume)
        except LearnerGroupDied as death:
            restarts += 1
            last = last_checkpoint(opened.run_dir) if restarts <= config.checkpoint.restarts else None
            if last is None or session.interrupts.count:
                raise
            keeper.note(
                f"{death}\nthe run restarts from its checkpoint of train step {last.step} "
                f"({restarts} of {config.checkpoint.restarts} times)"
            )
            log.warning("learner group died, restart %d: %s", restarts, death)
            keeper.metrics.flush()
            resume = ResumedRun(opened.run_dir, last, ())
            go_back(config, resume, opened.store, say=keeper.note)
            wiring = wire_where_it_fits(config, profiled=session.spans.is_wanted)


def _run(session: _Session, wiring: Wiring, resume: ResumedRun | None) -> dict[str, int]:
    """Run the roles from start to stop; returns the steps done. Shared memory is removed on return and on error."""
    config, keeper, interrupts, spans = session.config, session.keeper, session.interrupts, session.spans
    run_dir, point = session.opened.run_dir, resume_point(wiring, resume.checkpoint) if resume else None
    try:
        board = create_shared(wiring)
        if point is not None:
            _count_from(board, point)
        metrics = [Ring.attach(wiring.run, spec).consumer() for spec in wiring.metrics]
        limit = ProcessLimit(wiring, board)
        gauges = _gauges(session, wiring, board)
        crew = Crew(config, wiring, run_dir, board, session.server, note=keeper.note, resume=point)

        def flush() -> None:
            keeper.record(_drain(wiring, metrics))
            keeper.metrics.flush()

        saves = Saves(config, wiring, session.opened.store, board, note=keeper.note, row=crew.row, flush=flush)
        evaluations = Evaluations(config, run_dir, keeper, session.server)
        spans.attach(wiring, board, crew.row)
        try:
            with _START:
                crew.start(interrupted=lambda: interrupts.count > 0)
            while not crew.learner_done and not interrupts.count:
                with _DRAIN:
                    keeper.record(_drain(wiring, metrics))
                with _PROGRESS:
                    _show(keeper, board, limit.name())
                with _GAUGES:
                    gauges.follow()
                with _LOOK:
                    crew.look_after()
                with _SAVES:
                    saves.follow()
                with _EVALUATIONS:
                    evaluations.follow(*(board.counter(LEARNER, name) for name in ("checkpoint_step", "unscored_step")))
                spans.follow()
                with _SLEEP:
                    time.sleep(TICK_S)
            spans.stop()
        finally:
            try:
                if interrupts.count:
                    keeper.note("interrupted: saving the weights and ending (interrupt again to hurry)")
                crew.stop(interruptions=lambda: interrupts.count)
            finally:
                crew.kill()
            saves.end()
            evaluations.stop(give_up=lambda: interrupts.count > 0 or not crew.learner_done)
            keeper.record(_drain(wiring, metrics))
            gauges.record_all()
            spans.detach()
        _show(keeper, board)
        return _steps(board)
    finally:
        remove_run(wiring.run)


def _gauges(session: _Session, wiring: Wiring, board: Board) -> Gauges:
    return Gauges(
        wiring,
        board,
        session.keeper.metrics,
        session.keeper.alarms,
        interval_s=session.config.supervisor.record_interval_s,
        inherited=lambda: own_memory_bytes(session.server.pid) or 0,
    )


def create_shared(wiring: Wiring) -> Board:
    """Create every shared object of the run; returns the board, which the supervisor keeps using."""
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


def _count_from(board: Board, point: ResumePoint) -> None:
    """Restore the counters that pace a run."""
    for actor, env_steps in enumerate(point.env_steps):
        board.begin_with(actor_name(actor), "env_steps", env_steps)
    board.begin_with(LEARNER, "train_steps", point.step)


def _drain(wiring: Wiring, consumers: list[Consumer]) -> Iterator[MetricRecord]:
    """All metrics received. Reanalyzers after the first have their shard in the metric's name."""
    for process, consumer in zip(wiring.processes, consumers, strict=True):
        is_further_shard = process.startswith("reanalyzer-") and process != REANALYZER
        while (packed := consumer.get()) is not None:
            record = packed.unpacked()
            if is_further_shard:
                record = replace(record, name=process + record.name.removeprefix(role_of(process)))
            yield record


def _show(keeper: RunKeeper, board: Board, limit: str = "") -> None:
    keeper.progress(env_steps=board.total("env_steps"), train_steps=board.total("train_steps"), limit=limit)


def _steps(board: Board) -> dict[str, int]:
    return {"env_steps": board.total("env_steps"), "train_steps": board.total("train_steps")}
