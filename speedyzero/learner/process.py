"""The learner as a process."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch

from speedyzero import keyed_random
from speedyzero.checkpoint.weights_file import checkpoint_dir, save_weights
from speedyzero.config import Config
from speedyzero.edges import LearnerEdges
from speedyzero.env.registry import GameInfo, check_game
from speedyzero.learner.group import join_group
from speedyzero.learner.learner import Learner
from speedyzero.model.build import build_network
from speedyzero.pacing import Pacing
from speedyzero.replay.shard import Shard
from speedyzero.role_process import ProcessSpec, RoleProcess, role_process
from speedyzero.shared_edges import RingReceiver, RingSender, SlotSink
from speedyzero.shm import Run, SharedArrays, WeightSlots, WeightSlotsSpec
from speedyzero.wiring import Wiring


def main(spec: ProcessSpec, rank: int) -> None:
    """Train with the other ranks until the last train step or until the run is stopped; rank 0 saves the weights."""
    config, wiring = spec.config, spec.wiring
    with role_process(spec) as process:
        game = check_game(config.env)
        ranks = len(wiring.placement.learners)
        group = join_group(rank, ranks, meeting_file=wiring.run.meeting_file, device=spec.device)
        torch.manual_seed(keyed_random.seed_for(config.seed, keyed_random.INIT))
        network = build_network(config, game.spec, game.num_actions)
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
        learner = Learner(config, edges, Pacing.of(config), network, shards, device=spec.device, group=group)
        _train(process, learner, game)


def _slots(run: Run, spec: WeightSlotsSpec, rank: int) -> SlotSink | None:
    """The end that publishes, for the first rank of this host."""
    return SlotSink(WeightSlots.attach(run, spec, writable=True)) if rank == 0 else None


def _shard(wiring: Wiring, index: int) -> Shard:
    arrays = SharedArrays.attach(wiring.run, wiring.shards[index])
    return Shard(wiring.shard_shape, {name: arrays[name] for name in wiring.shard_shape.fields()})


def _train(process: RoleProcess, learner: Learner, game: GameInfo) -> None:
    """The loop, with a checkpoint whenever one is due; interrupted, a last one of where it stands.

    All ranks come to every checkpoint, at the same train step, and average their buffers.
    """
    spec, board = process.spec, process.board
    total = spec.config.schedule.total_train_steps
    while learner.train_step < total and not learner.has_left:
        goal = learner.train_step + 1
        process.loop(learner, done=partial(_reached, learner, goal))
        is_due = learner.due_checkpoint() is not None
        if not is_due and process.stop_requested():
            learner.leave()
        if is_due or learner.has_left:
            learner.group.average_buffers()
            if learner.reports:
                step = learner.train_step
                save_checkpoint(spec.run_dir, spec.config, game, learner, env_steps=board.env_steps, step=step)
                process.checkpointed(step)
    process.finished()


def _reached(learner: Learner, goal: int) -> bool:
    return learner.train_step >= goal or learner.has_left


def save_checkpoint(
    run_dir: Path, config: Config, game: GameInfo, learner: Learner, *, env_steps: int, step: int
) -> None:
    """Write the learner's weights with what names them."""
    meta = {
        "step": step,
        "env_steps": env_steps,
        "preset": config.preset,
        "game": game.name,
        "num_actions": game.num_actions,
        "score": None,
    }
    save_weights(checkpoint_dir(run_dir, step), learner.network.state_dict(), meta)
