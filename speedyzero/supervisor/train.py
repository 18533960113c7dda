"""Trains: one loop over the roles of a run, which are processes (`process.py`) or take turns in this one (`inline.py`).

start -> step or watch the roles, record metrics, show progress, save, evaluate -> end -> final evaluation
learner group died -> all roles end -> restart from the last checkpoint
"""

import logging
import time
from contextlib import closing
from pathlib import Path

from speedyzero.checkpoint.store import CheckpointStore
from speedyzero.config import Config
from speedyzero.env.registry import is_drawable
from speedyzero.nodes.share import WHOLE
from speedyzero.nodes.watch import Watch
from speedyzero.runtime.fork_server import ForkServer
from speedyzero.supervisor.crew import LearnerGroupDied
from speedyzero.supervisor.inline import InlineRoles, InOneProcess
from speedyzero.supervisor.interrupts import Interrupts
from speedyzero.supervisor.keeper import RunKeeper, print_plan, print_summary
from speedyzero.supervisor.process import AsProcesses, ProcessRoles
from speedyzero.supervisor.resume import ResumedRun, go_back, last_checkpoint, opened_run
from speedyzero.supervisor.run_profile import RunProfile
from speedyzero.supervisor.session import Session
from speedyzero.tracing.spans import Span

_START, _DRAIN, _PROGRESS = Span("start"), Span("drain_metrics"), Span("show_progress")
_log = logging.getLogger("speedyzero.supervisor")

Carrier = InOneProcess | AsProcesses
Roles = InlineRoles | ProcessRoles
"""The roles of one start of a run."""


def train(
    config: Config,
    server: ForkServer | None = None,
    resume: ResumedRun | None = None,
    *,
    profile: float | None = None,
    nodes: Watch | None = None,
) -> Path:
    """Train, evaluate and save as configured, printing progress; returns the run directory.

    server: forks all processes of the run; None: inline. resume: the run to resume. profile: also write a trace of that
    many seconds. nodes: the others of a run on several; config is then this node's share of its settings, and node 0
    evaluates.

    Raises SegmentError (a ValueError) if shared memory does not suffice, before anything starts; RunFailed if a role
    cannot be kept alive; KeyboardInterrupt after an orderly stop.
    """
    is_profiled, share = profile is not None, nodes.share if nodes else WHOLE
    carrier = InOneProcess(config) if server is None else AsProcesses(config, server, profiled=is_profiled, nodes=nodes)
    with opened_run(share.whole(config), resume, nodes=nodes) as opened:
        run_dir, resumed_step = opened.run_dir, resume.step if resume else None
        if share.node == 0:
            print_plan(share.whole(config), run_dir, processes=carrier.description, resumed_step=resumed_step)
        config = carrier.prepare()
        with Interrupts(raise_at=carrier.raise_at) as interrupts:
            started_s = time.monotonic()
            keeper = RunKeeper(config, run_dir, share=share)
            profiler = RunProfile(profile, config, run_dir, note=keeper.note)
            try:
                with closing(profiler):
                    session = Session(config, opened, keeper, interrupts, profiler)
                    roles = _run_on(session, carrier, resume, is_alone=nodes is None)
                trained_s = time.monotonic() - started_s
                interrupts.raise_from_now_on()
                if share.node:
                    return run_dir
                result = keeper.finish(roles.train_steps)
            finally:
                keeper.close()
            _log.info("trained in %.1f s, score %s", trained_s, result)
    counts = {"env_steps": roles.env_steps, "train_steps": roles.train_steps}
    print_summary(run_dir, result, **counts, duration_s=trained_s, film=is_drawable(config.env))
    return run_dir


def _run_on(session: Session, carrier: Carrier, resume: ResumedRun | None, *, is_alone: bool = True) -> Roles:
    """`_run`; restarts from the last checkpoint when the learner group dies, at most `checkpoint.restarts` times.

    is_alone: several nodes are restarted by torchrun.
    """
    config, opened, keeper = session.config, session.opened, session.keeper
    restarts = 0
    while True:
        roles = carrier.roles(session, resume)
        try:
            _run(session, roles)
            return roles
        except LearnerGroupDied as death:
            restarts += 1
            may_restart = is_alone and restarts <= config.checkpoint.restarts and not session.interrupts.count
            last = last_checkpoint(opened.run_dir) if may_restart else None
            if last is None:
                raise
            assert isinstance(opened.store, CheckpointStore)
            keeper.note(
                f"{death}\nthe run restarts from its checkpoint of train step {last.step} "
                f"({restarts} of {config.checkpoint.restarts} times)"
            )
            _log.warning("learner group died, restart %d: %s", restarts, death)
            keeper.metrics.flush()
            resume = ResumedRun(opened.run_dir, last, ())
            go_back(config, resume, opened.store, say=keeper.note)


def _run(session: Session, roles: Roles) -> None:
    """Run the roles from start to end."""
    keeper, interrupts = session.keeper, session.interrupts
    with closing(roles):
        with _START:
            roles.start()
        while not roles.done and not interrupts.count:
            roles.step()
            with _DRAIN:
                keeper.record(roles.metrics())
            with _PROGRESS:
                keeper.progress(env_steps=roles.env_steps, train_steps=roles.train_steps, limit=roles.limit())
            roles.follow()
            session.profiler.follow()
        session.profiler.stop()
        if interrupts.count:
            keeper.note("interrupted: saving and ending (interrupt again to hurry)")
        roles.end()
    keeper.progress(env_steps=roles.env_steps, train_steps=roles.train_steps)
