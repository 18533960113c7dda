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
from speedyzero.learner.learner import Learner
from speedyzero.model.build import build_network
from speedyzero.pacing import Pacing
from speedyzero.replay.shard import Shard
from speedyzero.role_process import ProcessSpec, RoleProcess, role_process
from speedyzero.shared_edges import RingReceiver, RingSender, SharedBoard, SlotSink
from speedyzero.shm import SharedArrays, WeightSlots


def main(spec: ProcessSpec) -> None:
    """Train until the last train step or until the run is stopped; either way leave the weights in a checkpoint."""
    config, wiring = spec.config, spec.wiring
    with role_process(spec) as process:
        game = check_game(config.env)
        torch.manual_seed(keyed_random.seed_for(config.seed, keyed_random.INIT))
        network = build_network(config, game.spec, game.num_actions)
        arrays = SharedArrays.attach(wiring.run, wiring.shard)
        edges = LearnerEdges(
            batches=RingReceiver(wiring.run, wiring.batches),
            priorities=RingSender(wiring.run, wiring.priorities),
            weights=SlotSink(WeightSlots.attach(wiring.run, wiring.weights, writable=True)),
            targets=SlotSink(WeightSlots.attach(wiring.run, wiring.targets, writable=True)),
            metrics=process.metrics,
            board=process.board,
        )
        shard = Shard(wiring.shard_shape, {name: arrays[name] for name in wiring.shard_shape.fields()})
        pacing = Pacing(config.schedule, tick_env_steps=config.actor.envs * config.actor.actors)
        learner = Learner(config, edges, pacing, network, shard, device=spec.device)
        _train(process, learner, game)


def _train(process: RoleProcess, learner: Learner, game: GameInfo) -> None:
    """The loop, with a checkpoint whenever one is due; interrupted, a last one of where it stands."""
    spec, board = process.spec, process.board
    total = spec.config.schedule.total_train_steps
    while board.train_steps < total and not process.stop_requested():
        goal = board.train_steps + 1
        process.loop(learner, done=partial(_reached, board, goal))
        step = learner.due_checkpoint()
        if step is not None or process.stop_requested():
            step = board.train_steps
            save_checkpoint(spec.run_dir, spec.config, game, learner, env_steps=board.env_steps, step=step)
            process.checkpointed(step)
    process.finished()


def _reached(board: SharedBoard, goal: int) -> bool:
    return board.train_steps >= goal


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
