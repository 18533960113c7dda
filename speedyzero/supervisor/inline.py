"""A whole run in one process: actor, reanalyzer and learner take turns over edges of plain memory.

    while train steps are left:   actor.step()   reanalyzer.step()   learner.step()      paced by `pacing.py`
    on the interval and at the end:   evaluate, save the weights, keep last and best apart

The same roles as in processes, deterministic to the bit on a CPU: for tests, debuggers and profilers.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import torch

from speedyzero import keyed_random
from speedyzero.actor.actor import Actor
from speedyzero.config import Config
from speedyzero.env.base import LaneEnv
from speedyzero.env.registry import GameInfo, check_game, make_env
from speedyzero.learner.learner import Learner
from speedyzero.learner.process import save_checkpoint
from speedyzero.memory_edges import InlineEdges
from speedyzero.model.agent import Agent
from speedyzero.model.build import build_network
from speedyzero.model.threads import threads_for
from speedyzero.observe.run_dir import create_run_dir, run_log
from speedyzero.pacing import Pacing
from speedyzero.reanalyze.reanalyzer import Reanalyzer
from speedyzero.replay.shard import Shard, shard_shape
from speedyzero.resolve import save_config
from speedyzero.supervisor.keeper import RunKeeper, print_plan, print_summary


@dataclass(frozen=True)
class InlineRun:
    """The roles of one run and the edges between them."""

    config: Config
    game: GameInfo
    edges: InlineEdges
    pacing: Pacing
    env: LaneEnv
    actor: Actor
    reanalyzer: Reanalyzer
    learner: Learner

    @property
    def done(self) -> bool:
        return self.edges.board.train_steps >= self.config.schedule.total_train_steps

    def turn(self) -> None:
        """One round of all roles. Raises RuntimeError where none of them can move."""
        moved = [role.step() for role in (self.actor, self.reanalyzer, self.learner)]
        if not any(moved):
            board = self.edges.board
            raise RuntimeError(
                f"no role can move at env step {board.env_steps}, train step {board.train_steps}: "
                f"{self.reanalyzer.sampler.size} eligible positions"
            )


def build_run(config: Config, *, device: str = "cpu") -> InlineRun:
    """Make environments, networks and roles. The number of torch threads is set for the whole process."""
    game = check_game(config.env)
    torch.set_num_threads(threads_for(config, game.spec))
    torch.manual_seed(keyed_random.seed_for(config.seed, keyed_random.INIT))
    network = build_network(config, game.spec, game.num_actions)
    edges = InlineEdges()
    pacing = Pacing.of(config)
    env = make_env(config.env, lanes=config.actor.envs, seed=config.seed)

    def agent() -> Agent:
        return Agent(config, game.spec, game.num_actions, device=device)

    shard = Shard(shard_shape(config, game.spec, game.num_actions))
    reanalyzer = Reanalyzer(config, edges.for_reanalyzer(), pacing, agent(), shard, newest=agent())
    learner = Learner(config, edges.for_learner(), pacing, network, [shard], device=device)
    actor = Actor(config, edges.for_actor(), pacing, agent(), env)
    return InlineRun(config, game, edges, pacing, env, actor, reanalyzer, learner)


def train(config: Config) -> Path:
    """Train, evaluate and save as configured; the run directory. Prints what a user needs to follow it."""
    run_dir = create_run_dir(game=config.env.game, preset=config.preset, seed=config.seed, run_dir=config.run_dir)
    save_config(config, run_dir / "config.yaml")
    print_plan(config, run_dir, processes="one process")
    with run_log(run_dir) as log:
        started_s = time.monotonic()
        run = build_run(config, device="cuda" if config.gpus else "cpu")
        keeper = RunKeeper(config, run_dir)
        try:
            while not run.done:
                run.turn()
                _after_turn(run, keeper, run_dir)
            trained_s = time.monotonic() - started_s
            result = keeper.finish(run.edges.board.train_steps)
        finally:
            keeper.close()
            run.env.close()
        log.info("trained in %.1f s, score %s", trained_s, result)
    board = run.edges.board
    print_summary(run_dir, result, env_steps=board.env_steps, train_steps=board.train_steps, duration_s=trained_s)
    return run_dir


def _after_turn(run: InlineRun, keeper: RunKeeper, run_dir: Path) -> None:
    """Metrics, progress, and on the interval a checkpoint with its score."""
    board, evaluation = run.edges.board, run.config.evaluate
    keeper.record(run.edges.metrics.drain())
    keeper.progress(env_steps=board.env_steps, train_steps=board.train_steps)
    step = run.learner.due_checkpoint()
    if step is None:
        return
    save_checkpoint(run_dir, run.config, run.game, run.learner, env_steps=board.env_steps, step=step)
    if not run.done:
        keeper.evaluate(step, episodes=evaluation.interval_episodes)
