"""A run's roles as processes: create the shared memory, start the processes, watch them, shut down cleanly.

    remove dead runs' memory -> check space -> create -> start learner, reanalyzer, actors -> all WORKING
    watch: replace dead processes, read gauges, finish checkpoints, evaluate new ones
    learner DONE or Ctrl-C -> stop flag -> join -> kill what is left -> remove shared memory

All shared memory is created before any process starts, so the order of starting does not matter.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from speedyzero.checkpoint.manifest import step_of
from speedyzero.checkpoint.stored import resumable
from speedyzero.config import Config
from speedyzero.nodes.launch import ALONE, agent_lives
from speedyzero.nodes.share import WHOLE
from speedyzero.nodes.watch import FOLLOWS, INTERRUPTED, Watch
from speedyzero.runtime.fork_server import ForkServer
from speedyzero.runtime.role_process import ResumePoint
from speedyzero.runtime.wiring import LEARNER, REANALYZER, Wiring, actor_name, bell_of, role_of
from speedyzero.shm import Board, Doorbell, Ring, SharedArrays, WeightSlots, remove_run
from speedyzero.supervisor.crew import HURRY, Crew, LearnerGroupDied, RunFailed
from speedyzero.supervisor.evaluations import Evaluations
from speedyzero.supervisor.gauges import Gauges
from speedyzero.supervisor.gpu_memory import chosen_for_gpus
from speedyzero.supervisor.limit_now import NodesLimit, limit_of_processes
from speedyzero.supervisor.placement_table import print_placement
from speedyzero.supervisor.profile_counts import ProfiledProcesses
from speedyzero.supervisor.resume import ResumedRun, resume_point
from speedyzero.supervisor.saves import Saves
from speedyzero.supervisor.session import Session
from speedyzero.supervisor.space import wire_where_it_fits
from speedyzero.system.prctl import set_title
from speedyzero.topology.edges import METRICS
from speedyzero.topology.records import MetricRecord
from speedyzero.tracing.spans import Span

TICK_S = 0.05
AGENT_ENDS_S = 1.0
_GAUGES, _LOOK, _SLEEP = Span("record_gauges"), Span("look_after"), Span("sleep")
_SAVES, _EVALUATIONS = Span("follow_saves"), Span("follow_evaluations")


class OtherNodeDied(LearnerGroupDied):
    """Another node of the run failed or has no heartbeat; the message names it."""


class AsProcesses:
    """Carries a run's roles as processes over shared memory."""

    raise_at = 0  # interruptions that raise KeyboardInterrupt: never

    def __init__(self, config: Config, server: ForkServer, *, profiled: bool, nodes: Watch | None = None):
        """server: forks all processes. nodes: of a run on several. Raises SegmentError (a ValueError) if shared memory
        does not suffice.
        """
        set_title("supervisor")
        self._config, self._server, self._profiled, self._nodes = config, server, profiled, nodes
        self._wiring: Wiring | None = wire_where_it_fits(config, profiled=profiled)
        several = f" on each of {nodes.share.nodes} nodes" if nodes else ""
        self.description = f"{len(self._wiring.processes) + 2} processes{several}"

    def prepare(self) -> Config:
        """Print the layout; returns the settings, with those that depend on this machine chosen."""
        assert self._wiring is not None
        if self._nodes is None or self._nodes.share.node == 0:
            print_placement(self._config, self._wiring)
        return chosen_for_gpus(self._config, self._wiring) if self._config.gpus else self._config

    def roles(self, session: Session, resume: ResumedRun | None) -> ProcessRoles:
        wiring, self._wiring = self._wiring or wire_where_it_fits(session.config, profiled=self._profiled), None
        return ProcessRoles(session, wiring, self._server, resume, self._nodes)


class ProcessRoles:
    """The processes of one start of a run, and their shared memory."""

    def __init__(
        self,
        session: Session,
        wiring: Wiring,
        server: ForkServer,
        resume: ResumedRun | None,
        nodes: Watch | None = None,
    ):
        config, keeper, opened = session.config, session.keeper, session.opened
        self._session, self._wiring, self._nodes = session, wiring, nodes
        share = nodes.share if nodes else WHOLE
        point = resume_point(wiring.placement, resume.checkpoint, share=share) if resume else None
        if resume is not None:
            resume.checkpoint.release()  # the roles read it themselves
        try:
            self._board = board = create_shared(wiring)
            if point is not None:
                _count_from(board, point)
            self._consumers = [Ring.attach(wiring.run, spec).consumer() for spec in wiring.queues[METRICS.name]]
            limit = limit_of_processes(wiring, board)
            self._limit = NodesLimit(limit, board, nodes) if nodes else limit
            self._gauges = Gauges(
                wiring,
                board,
                keeper.metrics,
                keeper.alarms,
                server,
                interval_s=config.supervisor.record_interval_s,
                env_steps=lambda: self.env_steps,
            )
            launch = nodes.launch if nodes else ALONE
            self._crew = crew = Crew(
                config, wiring, opened.run_dir, board, server, note=keeper.note, resume=point, launch=launch
            )
            self._saves = Saves(
                config,
                wiring,
                opened.store,
                board,
                note=keeper.note,
                row=crew.row,
                flush=self._flush_metrics,
                nodes=nodes,
            )
            self._evaluations = Evaluations(config, opened.run_dir, keeper, server)
            session.profiler.attach(lambda: ProfiledProcesses(wiring, board, crew.row))
        except BaseException:
            remove_run(wiring.run)
            raise

    @property
    def done(self) -> bool:
        """Learners that ended early did so with those of another node, whose supervisor publishes the reason."""
        is_all_trained = self._nodes is None or self.train_steps >= self._session.config.schedule.total_train_steps
        return self._crew.learner_done and is_all_trained

    @property
    def env_steps(self) -> int:
        """Of all nodes."""
        return self._board.total("env_steps") + (self._nodes.env_steps_elsewhere if self._nodes else 0)

    @property
    def train_steps(self) -> int:
        return self._board.total("train_steps")

    def start(self) -> None:
        with self._ends_all():
            self._crew.start(interrupted=lambda: bool(self._why_to_end()) or self._session.interrupts.count > 0)

    def step(self) -> None:
        """Check the processes and wait a moment. Raises RunFailed if a role cannot be kept alive."""
        with _LOOK, self._ends_all():
            if why := self._why_to_end():
                raise OtherNodeDied(why)
            self._crew.look_after()
        with _SLEEP:
            time.sleep(TICK_S)

    def limit(self) -> str:
        """The bottleneck of the last seconds, empty if unknown."""
        return self._limit.name() if self.train_steps else ""

    def metrics(self) -> Iterator[MetricRecord]:
        """All metrics received. Reanalyzers after the first have their shard in the metric's name."""
        for process, consumer in zip(self._wiring.processes, self._consumers, strict=True):
            is_further_shard = process.startswith("reanalyzer-") and process != REANALYZER
            while (packed := consumer.get()) is not None:
                record = packed.unpacked()
                if is_further_shard:
                    record = replace(record, name=process + record.name.removeprefix(role_of(process)))
                yield record

    def follow(self) -> None:
        """Save, evaluate and record gauges, each when due."""
        with _GAUGES:
            self._gauges.follow()
        with _SAVES:
            self._saves.follow()
        with _EVALUATIONS:
            steps = (self._board.counter(LEARNER, name) for name in ("checkpoint_step", "unscored_step"))
            self._evaluations.follow(*steps)

    def end(self) -> None:
        """`close` does it: processes save when they are stopped. Before that, the other nodes are interrupted."""
        if self._nodes is not None and self._session.interrupts.count:
            self._nodes.publish(INTERRUPTED if agent_lives(for_s=AGENT_ENDS_S) else "its torchrun agent has died")

    def close(self) -> None:
        """End all processes, after an error too, and remove the shared memory."""
        interrupts, keeper, crew = self._session.interrupts, self._session.keeper, self._crew
        try:
            try:
                crew.stop(interruptions=lambda: interrupts.count)
            finally:
                crew.kill()
            self._saves.end(hurry=lambda: interrupts.count >= HURRY)
            self._evaluations.stop(give_up=lambda: interrupts.count > 0 or not self.done)
            keeper.record(self.metrics())
            self._gauges.record_all()
            self._session.profiler.detach()
        finally:
            remove_run(self._wiring.run)

    def _why_to_end(self) -> str:
        """What happened to another node; empty: nothing."""
        return self._nodes.poll(env_steps=self._board.total("env_steps")) if self._nodes else ""

    @contextmanager
    def _ends_all(self) -> Iterator[None]:
        """A failure ends all nodes, and its message names the one where it began."""
        try:
            yield
        except RunFailed as failure:
            if self._nodes is None:
                raise
            self._crew.kill()
            own = "" if isinstance(failure, OtherNodeDied) else str(failure)
            known = self._nodes.end(_in_one_line(own) or FOLLOWS)
            last = resumable(self._nodes.share.shared_dir(self._nodes.run_dir))[:1]
            saved = f"the last checkpoint is of train step {step_of(last[0])}" if last else "there is no checkpoint yet"
            raise type(failure)("\n".join(filter(None, (own, known, saved)))) from None

    def _flush_metrics(self) -> None:
        self._session.keeper.record(self.metrics())
        self._session.keeper.metrics.flush()


def create_shared(wiring: Wiring) -> Board:
    """Create every shared object of the run; returns the board, which the supervisor keeps using."""
    run = wiring.run
    for process in wiring.board.rows:
        Doorbell.create(run, bell_of(process)).close()
    for ring in wiring.rings:
        Ring.create(run, ring).close()
    for slots in wiring.slots.values():
        WeightSlots.create(run, slots).close()
    for shard in wiring.shards:
        SharedArrays.create(run, shard).close()
    run.meeting_file.touch(mode=0o600, exist_ok=False)
    return Board.create(run, wiring.board)


def _in_one_line(report: str) -> str:
    """A death and the last line of its traceback."""
    first, _, rest = report.strip().partition("\n")
    return f"{first} {rest.splitlines()[-1]}" if rest else first


def _count_from(board: Board, point: ResumePoint) -> None:
    """Restore the counters that pace a run."""
    for actor, env_steps in enumerate(point.env_steps):
        board.begin_with(actor_name(actor), "env_steps", env_steps)
    board.begin_with(LEARNER, "train_steps", point.step)
