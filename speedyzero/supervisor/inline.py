"""A run's roles in one process: actor, reanalyzer and learner take turns over in-memory edges.

    while train steps are left:   actor.step()   reanalyzer.step()   learner.step()      paced by `pacing.py`

The same roles as in processes, bit-reproducible on a CPU: for tests, debuggers and profilers.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch

from speedyzero.actor.actor import Actor
from speedyzero.actor.process import build_actor
from speedyzero.checkpoint.save_clock import SaveClock
from speedyzero.checkpoint.snapshot import Snapshot, take_snapshot
from speedyzero.checkpoint.store import CheckpointStore
from speedyzero.checkpoint.stored import Checkpoint
from speedyzero.config import Config
from speedyzero.config.placement import place
from speedyzero.env.registry import GameInfo, check_game, make_env
from speedyzero.env.taped import TAPE, TapedLanes
from speedyzero.learner.learner import Learner
from speedyzero.learner.process import build_learner
from speedyzero.learner.saving import checkpoint_meta, save_to_score
from speedyzero.model.threads import threads_for
from speedyzero.reanalyze.process import build_reanalyzer
from speedyzero.reanalyze.reanalyzer import Reanalyzer
from speedyzero.reanalyze.restored import replay_part
from speedyzero.replay.shard import Shard, shard_shape
from speedyzero.runtime.local_edges import InlineEdges
from speedyzero.runtime.wiring import LEARNER, REANALYZER, actor_name, wire
from speedyzero.shm import Run
from speedyzero.supervisor.gpu_memory import chosen_for_gpus
from speedyzero.supervisor.interrupts import HURRY
from speedyzero.supervisor.limit_now import Limit
from speedyzero.supervisor.resume import ResumedRun, resume_point
from speedyzero.supervisor.saves import thin_out
from speedyzero.supervisor.session import Session
from speedyzero.supervisor.turns import ProfiledTurns, Turns
from speedyzero.system.freed_memory import FreedMemory, keep_large_blocks
from speedyzero.topology.edges import ActorEdges, LearnerEdges, ReanalyzerEdges
from speedyzero.topology.records import MetricRecord

ACTOR = actor_name(0)
ACTOR_PART, ENV_PART, EDGES_PART = "actor_0", "env_0", "edges"
_log = logging.getLogger("speedyzero.checkpoint")


@dataclass(frozen=True)
class InlineRun:
    """The roles of one run and the edges between them."""

    config: Config
    game: GameInfo
    edges: InlineEdges
    env: TapedLanes
    actor: Actor
    reanalyzer: Reanalyzer
    learner: Learner
    turns: Turns = field(default_factory=Turns)

    @property
    def done(self) -> bool:
        return self.edges.board.train_steps >= self.config.schedule.total_train_steps

    def close(self) -> None:
        """End the environments and close the log."""
        self.env.close()
        if self.reanalyzer.log is not None:
            self.reanalyzer.log.close()

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
    edges, shard = InlineEdges(), Shard(shard_shape(config, game.spec, game.num_actions))
    env = TapedLanes(make_env(config.env, lanes=config.actor.envs, seed=config.seed))
    resumed_ticks, has_games, point = 0, checkpoint is not None and checkpoint.has_part(ENV_PART), None
    if checkpoint is not None:
        point = resume_point(place(config), checkpoint)
        (resumed_ticks,), (edges.board.env_steps,) = point.ticks, point.env_steps
        edges.board.train_steps = point.step
    # First the learner: it publishes the weights that the reanalyzer of a resumed run continues with.
    learner = build_learner(config, edges.of(LearnerEdges), [shard], device=device, checkpoint=checkpoint)
    reanalyzer = build_reanalyzer(
        config,
        edges.of(ReanalyzerEdges),
        shard,
        device=device,
        run_dir=run_dir,
        point=point,
        checkpoint=checkpoint,
        keeps_games=has_games,
    )
    actor = build_actor(config, edges.of(ActorEdges), env, device=device, resumed_ticks=resumed_ticks)
    if checkpoint is not None and has_games:
        tape = checkpoint.part(ENV_PART)
        actor.restore(checkpoint.part(ACTOR_PART), env.replay(**{name: tape.array(name) for name in TAPE}))
        edges.restore(checkpoint.part(EDGES_PART))
    return InlineRun(config, game, edges, env, actor, reanalyzer, learner)


class InOneProcess:
    """Carries a run's roles in turns; see `process.AsProcesses`."""

    description, raise_at = "one process", HURRY

    def __init__(self, config: Config):
        self._config = config

    def prepare(self) -> Config:
        config, game = self._config, check_game(self._config.env)
        if not config.gpus:
            return config
        return chosen_for_gpus(config, wire(config, Run.new(), game.spec, game.num_actions))

    def roles(self, session: Session, resume: ResumedRun | None) -> InlineRoles:
        config, keeps = session.config, session.config.checkpoint.keep_last > 0
        run = build_run(
            config,
            device="cuda" if config.gpus else "cpu",
            run_dir=session.opened.run_dir if keeps or resume is not None else None,
            checkpoint=None if resume is None else resume.checkpoint,
        )
        return InlineRoles(session, run)


class InlineRoles:
    """The roles of a run that take turns with its supervisor; see `process.ProcessRoles`."""

    def __init__(self, session: Session, run: InlineRun):
        self._session, self._run, self._board = session, run, run.edges.board
        assert isinstance(session.opened.store, CheckpointStore)
        self._checkpoints = InlineCheckpoints(run, session.opened.store, note=session.keeper.note)
        self.limit = Limit(lambda: run.turns.busy_ns).name
        self._freed = FreedMemory()
        session.profiler.attach(lambda: ProfiledTurns(run.turns, run.edges.board))

    @property
    def done(self) -> bool:
        return self._run.done

    @property
    def env_steps(self) -> int:
        return self._board.env_steps

    @property
    def train_steps(self) -> int:
        return self._board.train_steps

    def start(self) -> None:
        """They are built already."""

    def step(self) -> None:
        self._run.turns.end_supervisors()
        self._run.turn()

    def metrics(self) -> Iterator[MetricRecord]:
        return self._run.edges.metrics.drain()

    def follow(self) -> None:
        run, keeper = self._run, self._session.keeper
        keeper.alarms.look_at_memory([os.getpid()], train_steps=self.train_steps)
        self._freed.give_back_if_due()
        step = run.learner.due_checkpoint()
        is_saved = step is not None and self._save_weights()
        self._checkpoints.save_if_due()
        if step is not None and is_saved and not run.done:
            try:
                keeper.evaluate(step, episodes=run.config.evaluate.interval_episodes)
            except OSError as error:
                keeper.note(f"the score of train step {step} was not kept, training continues: {error}")

    def end(self) -> None:
        if not self.done:
            self._save_weights()
        self._checkpoints.save()

    def close(self) -> None:
        self._session.profiler.detach()
        self._run.close()

    def _save_weights(self) -> bool:
        """Returns whether the weights were saved; a failure is reported."""
        run, step = self._run, self._run.learner.train_step
        meta = checkpoint_meta(run.config, run.game, env_steps=self.env_steps, step=step)
        error = save_to_score(self._session.opened.run_dir, run.learner, meta)
        if error is not None:
            self._session.keeper.note(f"no score of train step {step}: its weights were not saved: {error}")
        return error is None


class InlineCheckpoints:
    """Checkpoints of an inline run, written between two turns."""

    def __init__(self, run: InlineRun, store: CheckpointStore, *, note: Callable[[str], None]):
        self._run, self._store, self._note = run, store, note
        self._clock = SaveClock(run.config.checkpoint, step=run.learner.train_step or -1)

    def save_if_due(self) -> None:
        if self._clock.due(self._run.learner.train_step):
            self.save()

    def save(self) -> None:
        """Save unless checkpoints are off or this train step is saved already."""
        if self._run.config.checkpoint.keep_last and self._run.learner.train_step != self._clock.saved_step:
            self.save_now()

    def save_now(self) -> None:
        """A failed write is reported."""
        step = self._run.learner.train_step
        self._clock.saved(step)
        try:
            self._store.write(snapshot_of(self._run))
        except OSError as error:
            _log.warning("%s", error)
            self._note(f"checkpoint of train step {step} was not saved, training continues: {error}")
            return
        try:
            thin_out(self._store, self._run.config)
            assert self._run.reanalyzer.log is not None
            self._run.reanalyzer.log.sweep()
        except (OSError, ValueError) as error:  # the new one is valid
            _log.warning("%s", error)
            self._note(f"older checkpoints were not pruned: {error}")


def snapshot_of(run: InlineRun) -> Snapshot:
    """The complete state between two turns. A process run saves no actor, environments and edges: its resume starts new
    games. Raises OSError if the replay's rows cannot be flushed to disk."""
    state, board = run.learner.state(), run.edges.board
    return take_snapshot(
        meta=checkpoint_meta(run.config, run.game, env_steps=board.env_steps, step=state.train_step),
        weights=state.weights,
        state={"train_steps": state.train_step, "mode": "inline"},
        parts={
            **state.parts(),
            replay_part(0): run.reanalyzer.part(),
            ACTOR_PART: run.actor.part(),
            ENV_PART: run.env.part(),
            EDGES_PART: run.edges.part(),
        },
    )
