"""A run in one process: actor, reanalyzer and learner take turns over in-memory edges.

    while train steps are left:   actor.step()   reanalyzer.step()   learner.step()      paced by `pacing.py`
    on the interval and at the end:   evaluate, save the weights

The same roles as in processes, bit-reproducible on a CPU: for tests, debuggers and profilers.
"""

from __future__ import annotations

import logging
import os
import time
from dataclasses import dataclass, field
from pathlib import Path

import torch

from speedyzero.actor.actor import Actor
from speedyzero.checkpoint.replay_log import ReplayLog
from speedyzero.checkpoint.stored import Checkpoint
from speedyzero.config import Config
from speedyzero.env.registry import GameInfo, check_game, make_env
from speedyzero.env.taped import TAPE, TapedLanes
from speedyzero.learner.first_network import first_network
from speedyzero.learner.learner import Learner
from speedyzero.learner.saving import save_checkpoint
from speedyzero.learner.state import LearnerState
from speedyzero.model.agent import Agent
from speedyzero.model.threads import threads_for
from speedyzero.reanalyze.reanalyzer import Reanalyzer, cut_off
from speedyzero.reanalyze.restored import draws_of, open_log, restore_shard
from speedyzero.replay.shard import Shard, shard_shape
from speedyzero.runtime.local_edges import InlineEdges, MemoryBoard
from speedyzero.runtime.wiring import LEARNER, REANALYZER, SUPERVISOR, actor_name
from speedyzero.supervisor.inline_checkpoints import InlineCheckpoints
from speedyzero.supervisor.inline_profile import InlineProfile, Turns
from speedyzero.supervisor.inline_state import ACTOR_PART, EDGES_PART, ENV_PART, restore_edges
from speedyzero.supervisor.interrupts import HURRY, Interrupts
from speedyzero.supervisor.keeper import RunKeeper, print_plan, print_summary
from speedyzero.supervisor.limit_now import TurnLimit
from speedyzero.supervisor.resume import OpenedRun, ResumedRun, opened_run
from speedyzero.system.freed_memory import FreedMemory, keep_large_blocks
from speedyzero.topology.pacing import Pacing
from speedyzero.tracing.profile_window import ProfileRequest

ACTOR = actor_name(0)
_log = logging.getLogger("speedyzero.supervisor")


@dataclass(frozen=True)
class InlineRun:
    """The roles of one run and the edges between them."""

    config: Config
    game: GameInfo
    edges: InlineEdges
    pacing: Pacing
    env: TapedLanes
    actor: Actor
    reanalyzer: Reanalyzer
    learner: Learner
    log: ReplayLog | None  # of the shard, if checkpoints are kept
    turns: Turns = field(default_factory=Turns)

    @property
    def done(self) -> bool:
        return self.edges.board.train_steps >= self.config.schedule.total_train_steps

    def close(self) -> None:
        """End the environments and close the log."""
        self.env.close()
        if self.log is not None:
            self.log.close()

    def turn(self) -> None:
        """One step of each role. Raises RuntimeError if none makes progress."""
        moved = False
        for name, role in ((ACTOR, self.actor), (REANALYZER, self.reanalyzer), (LEARNER, self.learner)):
            with self.turns.of(name):
                moved |= role.step()
        if not moved:
            board = self.edges.board
            raise RuntimeError(
                f"no role can move at env step {board.env_steps}, train step {board.train_steps}: "
                f"{self.reanalyzer.sampler.size} eligible positions"
            )


def build_run(
    config: Config, *, device: str = "cpu", run_dir: Path | None = None, checkpoint: Checkpoint | None = None
) -> InlineRun:
    """Create environments, networks and roles. Sets the number of torch threads of the process.

    run_dir: where the replay is logged; None: nowhere. checkpoint: of that directory, to resume from. Raises ValueError
    if it does not fit or another process writes the log.
    """
    game = check_game(config.env)
    keep_large_blocks()
    torch.set_num_threads(threads_for(config, game.spec))
    network = first_network(config, game, begun=checkpoint is not None)
    edges = InlineEdges()
    pacing = Pacing.of(config)
    shard = Shard(shard_shape(config, game.spec, game.num_actions))
    resumed = None
    if checkpoint is not None:
        assert run_dir is not None, "a checkpoint refers to its directory's replay log"
        resumed = restore_shard(shard, checkpoint, run_dir, index=0)
    log = None if run_dir is None else open_log(run_dir, shard, resumed, index=0)
    ticks = int(shard.ticks[0])
    if resumed is not None:
        edges.board.env_steps, edges.board.train_steps = shard.env_steps_of(0), resumed.train_step
    resumes_games = checkpoint is not None and checkpoint.has_part(ENV_PART)
    env = TapedLanes(make_env(config.env, lanes=config.actor.envs, seed=config.seed))

    def agent() -> Agent:
        return Agent(config, game.spec, game.num_actions, device=device)

    reanalyzer = Reanalyzer(
        config,
        edges.for_reanalyzer(),
        pacing,
        agent(),
        shard,
        newest=agent(),
        first_draw=0 if checkpoint is None else draws_of(checkpoint, 0),
        log=log,
        resumed_ticks=[ticks],
    )
    state = None if checkpoint is None else LearnerState.of(checkpoint)
    learner = Learner(config, edges.for_learner(), pacing, network, [shard], device=device, state=state)
    actor = Actor(config, edges.for_actor(), pacing, agent(), env, first_tick=ticks)
    if resumed is not None:
        reanalyzer.restore(resumed.part, train_step=resumed.train_step)
    if checkpoint is not None and resumes_games:
        tape = checkpoint.part(ENV_PART)
        actor.restore(checkpoint.part(ACTOR_PART), env.replay(**{name: tape.array(name) for name in TAPE}))
        restore_edges(edges, checkpoint.part(EDGES_PART))
    elif resumed is not None:
        cut_off(shard, log, actor=0)
    return InlineRun(config, game, edges, pacing, env, actor, reanalyzer, learner, log)


def train(config: Config, resume: ResumedRun | None = None, *, profile: ProfileRequest | None = None) -> Path:
    """Train, evaluate and save as configured, printing progress; returns the run directory.

    resume: the run to resume. profile: also write a trace. Raises KeyboardInterrupt after saving an interrupted run.
    """
    with opened_run(config, resume) as opened:
        print_plan(config, opened.run_dir, processes="one process", resumed_step=resume.step if resume else None)
        with Interrupts(raise_at=HURRY) as interrupts:
            started_s = time.monotonic()
            keeper = RunKeeper(config, opened.run_dir)
            try:
                board = _train(config, opened, resume, keeper, interrupts, profile)
                trained_s = time.monotonic() - started_s
                interrupts.raise_from_now_on()
                result = keeper.finish(board.train_steps)
            finally:
                keeper.close()
            _log.info("trained in %.1f s, score %s", trained_s, result)
    steps = {"env_steps": board.env_steps, "train_steps": board.train_steps}
    print_summary(opened.run_dir, result, duration_s=trained_s, **steps)
    return opened.run_dir


def _train(
    config: Config,
    opened: OpenedRun,
    resume: ResumedRun | None,
    keeper: RunKeeper,
    interrupts: Interrupts,
    profile: ProfileRequest | None,
) -> MemoryBoard:
    """Take turns until the run is done or interrupted; returns the counters."""
    keeps = config.checkpoint.keep_last > 0
    run = build_run(
        config,
        device="cuda" if config.gpus else "cpu",
        run_dir=opened.run_dir if keeps or resume is not None else None,
        checkpoint=None if resume is None else resume.checkpoint,
    )
    checkpoints = InlineCheckpoints(run, opened.store, note=keeper.note) if keeps else None
    spans = InlineProfile(profile, config, opened.run_dir, run.turns, note=keeper.note) if profile else None
    board, first_step, limit = run.edges.board, run.edges.board.train_steps, TurnLimit(run.turns.busy_ns)
    freed = FreedMemory()
    try:
        while not run.done and not interrupts.count:
            run.turn()
            with run.turns.of(SUPERVISOR):
                _after_turn(run, keeper, opened.run_dir, checkpoints, limit=limit.name())
                freed.give_back_if_due()
            if spans is not None:
                learning = board.train_steps > first_step
                spans.after_turn(env_steps=board.env_steps, train_steps=board.train_steps, learning=learning)
        if interrupts.count:
            keeper.note("interrupted: saving and ending (interrupt again to hurry)")
            _save_weights(run, keeper, opened.run_dir)
        if checkpoints is not None:
            checkpoints.save()
    finally:
        if spans is not None:
            spans.close()
        run.close()
    return board


def _after_turn(
    run: InlineRun, keeper: RunKeeper, run_dir: Path, checkpoints: InlineCheckpoints | None, *, limit: str
) -> None:
    """Record metrics, show progress, and on their intervals save a checkpoint and evaluate."""
    board, evaluation = run.edges.board, run.config.evaluate
    keeper.record(run.edges.metrics.drain())
    keeper.progress(env_steps=board.env_steps, train_steps=board.train_steps, limit=limit)
    keeper.alarms.look_at_memory([os.getpid()], train_steps=board.train_steps)
    step = run.learner.due_checkpoint()
    is_saved = step is not None and _save_weights(run, keeper, run_dir)
    if checkpoints is not None:
        checkpoints.after_turn()
    if step is not None and is_saved and not run.done:
        try:
            keeper.evaluate(step, episodes=evaluation.interval_episodes)
        except OSError as error:
            keeper.note(f"the score of train step {step} was not kept, training continues: {error}")


def _save_weights(run: InlineRun, keeper: RunKeeper, run_dir: Path) -> bool:
    """Returns whether the weights were saved; a failure is reported."""
    board, learner = run.edges.board, run.learner
    try:
        save_checkpoint(run_dir, run.config, run.game, learner, env_steps=board.env_steps, step=learner.train_step)
    except OSError as error:
        keeper.note(f"no score of train step {learner.train_step}: its weights were not saved: {error}")
        return False
    return True
