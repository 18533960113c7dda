"""The learner as a process."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import partial
from typing import Any

from speedyzero.checkpoint.stored import open_checkpoint
from speedyzero.checkpoint.weights_file import checkpoint_dir, save_weights
from speedyzero.env.registry import GameInfo, check_game
from speedyzero.learner.first_network import first_network
from speedyzero.learner.group import joined_group
from speedyzero.learner.group_saver import GroupSaver
from speedyzero.learner.learner import Learner
from speedyzero.learner.saving import checkpoint_meta
from speedyzero.learner.state import LearnerState
from speedyzero.replay.shard import Shard
from speedyzero.runtime.role_process import ProcessSpec, RoleProcess, role_process
from speedyzero.runtime.shared_edges import RingReceiver, RingSender, SlotSink
from speedyzero.runtime.wiring import Wiring
from speedyzero.shm import Run, SharedArrays, WeightSlots, WeightSlotsSpec
from speedyzero.topology.edges import LearnerEdges
from speedyzero.topology.pacing import Pacing
from speedyzero.tracing.spans import Span

_SAVE = Span("save")
_log = logging.getLogger("speedyzero.checkpoint")


def main(spec: ProcessSpec, rank: int) -> None:
    """Train with the other ranks until the last train step or until the run is stopped; rank 0 saves the weights."""
    config, wiring = spec.config, spec.wiring
    ranks, meeting_file = len(wiring.placement.learners), wiring.run.meeting_file
    with (
        role_process(spec) as process,
        joined_group(rank, ranks, meeting_file=meeting_file, device=spec.device) as group,
    ):
        game = check_game(config.env)
        feeds = wiring.feeds_of(learner=rank)
        edges = LearnerEdges(
            batches=[RingReceiver(wiring.run, wiring.batches[feed]) for feed in feeds],
            priorities=[RingSender(wiring.run, wiring.priorities[feed]) for feed in feeds],
            weights=_slots(wiring.run, wiring.weights, rank),
            targets=_slots(wiring.run, wiring.targets, rank),
            metrics=process.metrics,
            board=process.board,
        )
        shards = [_shard(wiring, wiring.placement.feeds[feed].shard) for feed in feeds]
        state = LearnerState.of(open_checkpoint(spec.resume.checkpoint)) if spec.resume else None
        network = first_network(config, game, begun=state is not None)
        pacing = Pacing.of(config)
        learner = Learner(config, edges, pacing, network, shards, device=spec.device, group=group, state=state)
        _train(process, learner, game)


def _slots(run: Run, spec: WeightSlotsSpec, rank: int) -> SlotSink | None:
    """The publishing end, on the first rank of this host."""
    return SlotSink(WeightSlots.attach(run, spec, writable=True)) if rank == 0 else None


def _shard(wiring: Wiring, index: int) -> Shard:
    arrays = SharedArrays.attach(wiring.run, wiring.shards[index])
    return Shard(wiring.shard_shape, {name: arrays[name] for name in wiring.shard_shape.fields()})


def _train(process: RoleProcess, learner: Learner, game: GameInfo) -> None:
    """The training loop. Saves weights and full checkpoints when due, and at the end or when interrupted.

    All ranks reach every save at the same train step and average their buffers.
    """
    spec, board = process.spec, process.board
    total = spec.config.schedule.total_train_steps
    saver = GroupSaver(process, learner)
    while learner.train_step < total and not learner.has_left:
        goal = learner.train_step + 1
        process.loop(learner, done=partial(_reached, learner, goal))
        step = learner.train_step
        is_scored, is_whole = learner.due_checkpoint() is not None, saver.due()
        if not (is_scored or is_whole) and process.stop_requested():  # not between collective operations
            learner.leave()
        is_over = learner.has_left or step == total
        if is_scored or is_whole or is_over:
            with _SAVE:
                learner.group.average_buffers()
                if learner.reports:
                    meta = checkpoint_meta(spec.config, game, env_steps=board.env_steps, step=step)
                    if is_scored or is_over:
                        _save_weights(process, learner, meta)
                    if is_whole or is_over:
                        saver.save(meta)
    saver.wait()
    process.finished()


def _save_weights(process: RoleProcess, learner: Learner, meta: Mapping[str, Any]) -> None:
    """Save weights for evaluation. A failed write loses the score, not the run."""
    step = learner.train_step
    try:
        save_weights(checkpoint_dir(process.spec.run_dir, step), learner.network.state_dict(), meta)
    except OSError as error:
        _log.warning("weights of train step %d: %s", step, error)
        process.report_progress("unscored_step", step)
    else:
        process.report_progress("checkpoint_step", step)


def _reached(learner: Learner, goal: int) -> bool:
    return learner.train_step >= goal or learner.has_left
