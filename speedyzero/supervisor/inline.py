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
from speedyzero.checkpoint.scores import read_scores, record_score
from speedyzero.checkpoint.weights_file import checkpoint_dir, save_weights
from speedyzero.config import Config
from speedyzero.env.base import LaneEnv
from speedyzero.env.registry import GameInfo, check_game, make_env
from speedyzero.evaluate.evaluator import evaluate
from speedyzero.evaluate.result import EvaluationResult
from speedyzero.evaluate.video import Film
from speedyzero.learner.learner import Learner
from speedyzero.model.agent import Agent
from speedyzero.model.build import build_network
from speedyzero.model.threads import threads_for
from speedyzero.observe.metrics import MetricsWriter
from speedyzero.observe.progress import Progress
from speedyzero.observe.run_dir import create_run_dir, run_log, summary
from speedyzero.pacing import Pacing
from speedyzero.reanalyze.reanalyzer import Reanalyzer
from speedyzero.resolve import deviations, save_config
from speedyzero.weights.flat import flatten
from speedyzero.wiring import InlineEdges


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
    pacing = Pacing(config.schedule, tick_env_steps=config.actor.envs)
    env = make_env(config.env, lanes=config.actor.envs, seed=config.seed)

    def agent() -> Agent:
        return Agent(config, game.spec, game.num_actions, device=device)

    reanalyzer = Reanalyzer(config, edges, pacing, agent(), game.spec, game.num_actions)
    learner = Learner(config, edges, pacing, network, reanalyzer.shard, device=device)
    actor = Actor(config, edges, pacing, agent(), env)
    return InlineRun(config, game, edges, pacing, env, actor, reanalyzer, learner)


def train(config: Config) -> Path:
    """Train, evaluate and save as configured; the run directory. Prints what a user needs to follow it."""
    run_dir = create_run_dir(game=config.env.game, preset=config.preset, seed=config.seed, run_dir=config.run_dir)
    save_config(config, run_dir / "config.yaml")
    _print_plan(config, run_dir)
    with run_log(run_dir) as log:
        started_s = time.monotonic()
        run = build_run(config, device="cuda" if config.gpus else "cpu")
        keeper = _Keeper(run, run_dir)
        try:
            while not run.done:
                run.turn()
                keeper.after_turn()
            trained_s = time.monotonic() - started_s
            result = keeper.finish()
        finally:
            keeper.close()
            run.env.close()
        board = run.edges.board
        log.info("trained in %.1f s, score %s", trained_s, result)
    print(
        summary(
            run_dir,
            env_steps=board.env_steps,
            train_steps=board.train_steps,
            duration_s=trained_s,
            score=f"{result}\n{_scores_line(run_dir)}",
        )
    )
    return run_dir


class _Keeper:
    """Keeps the run directory while the roles work: metrics, progress, evaluations, weights."""

    def __init__(self, run: InlineRun, run_dir: Path):
        self._run, self._run_dir = run, run_dir
        schedule = run.config.schedule
        self._metrics = MetricsWriter(run_dir)
        self._progress = Progress(env_steps_total=schedule.env_steps, train_steps_total=schedule.total_train_steps)
        self._evaluated_step = -1
        self._shown: dict[str, float] = {}

    def after_turn(self) -> None:
        board = self._run.edges.board
        self._drain_metrics()
        self._progress.update(board.env_steps, board.train_steps, **self._shown)
        interval = self._run.config.evaluate.interval_train_steps
        on_interval = interval > 0 and board.train_steps % interval == 0 and not self._run.done
        if on_interval and 0 < board.train_steps != self._evaluated_step:
            self._evaluate(self._run.config.evaluate.interval_episodes, film=None)

    def finish(self) -> EvaluationResult:
        """The final evaluation, filmed where configured; saves the final weights."""
        evaluation = self._run.config.evaluate
        self._progress.note(f"evaluating {evaluation.episodes} episodes ...")
        if not evaluation.video:
            return self._evaluate(evaluation.episodes, film=None)
        videos = self._run_dir / "videos"
        videos.mkdir(exist_ok=True)
        with Film(videos / f"step_{self._run.edges.board.train_steps:09d}.mp4") as film:
            return self._evaluate(evaluation.episodes, film=film)

    def close(self) -> None:
        self._drain_metrics()
        self._progress.close()
        self._metrics.close()

    def _drain_metrics(self) -> None:
        metrics = self._run.edges.metrics
        while not metrics.empty:
            record = metrics.get()
            self._metrics.write(record.name, record.value, record.step)
            if record.name == "actor/game_score":
                previous = self._shown.get("score", record.value)
                self._shown["score"] = 0.9 * previous + 0.1 * record.value
            if record.name == "learner/loss":
                self._shown["loss"] = record.value
                self._record_replay(record.step)

    def _record_replay(self, step: int) -> None:
        memo, board = self._run.reanalyzer.memo, self._run.edges.board
        self._metrics.write("reanalyzer/searches", memo.done_searches, step)
        self._metrics.write("reanalyzer/requested_searches", memo.requested_searches, step)
        self._metrics.write("replay/eligible_positions", self._run.reanalyzer.sampler.size, step)
        self._metrics.write("actor/env_steps", board.env_steps, step)

    def _evaluate(self, episodes: int, *, film: Film | None) -> EvaluationResult:
        run, step = self._run, self._run.edges.board.train_steps
        agent = Agent(run.config, run.game.spec, run.game.num_actions, device=run.learner.device.type)
        agent.load(flatten(run.learner.network), version=step)
        started_s = time.monotonic()
        result = evaluate(
            agent,
            run.config.env,
            episodes=episodes,
            parallel_envs=run.config.evaluate.parallel_envs,
            simulations=run.config.evaluate.num_simulations,
            film=film,
        )
        self._evaluated_step = step
        self._metrics.write("evaluate/mean_score", result.mean, step)
        meta = {
            "step": step,
            "env_steps": run.edges.board.env_steps,
            "preset": run.config.preset,
            "game": run.game.name,
            "num_actions": run.game.num_actions,
            "score": result.to_json(),
        }
        save_weights(checkpoint_dir(self._run_dir, step), run.learner.network.state_dict(), meta)
        record_score(
            self._run_dir,
            step=step,
            mean=result.mean,
            episodes=episodes,
            env_steps=meta["env_steps"],
            duration_s=round(time.monotonic() - started_s, 2),
        )
        self._progress.note(f"evaluation at train step {step}: {result}")
        return result


def _print_plan(config: Config, run_dir: Path) -> None:
    schedule = config.schedule
    device = f"{config.gpus} GPU" if config.gpus else "CPU"
    print(f"{config.env.game}, preset {config.preset}, seed {config.seed}, {device}, one process")
    batches = f"{schedule.total_train_steps} train steps of {config.learner.batch_size} samples"
    print(f"to do    {schedule.env_steps} env steps, {batches}")
    print(f"results  {run_dir}")
    if check_game(config.env).kind == "atari":  # the paper is about nothing else
        differences = deviations(config)
        print(f"differs from EfficientZero's paper in {len(differences)} settings (here <- paper):")
        for difference in differences:
            print(f"  {difference.field:40} {difference.here} <- {difference.paper}")


def _scores_line(run_dir: Path) -> str:
    best = read_scores(run_dir)["best"]
    return f"best         {best['mean']:.6g}, at train step {best['step']} (picked by its score, so no fair measure)"
