"""Evaluates a checkpoint of a run in progress and records the score."""

import time
from pathlib import Path

from speedyzero.checkpoint.scores import record_score
from speedyzero.checkpoint.weights_file import checkpoint_dir, load_weights
from speedyzero.config import Config
from speedyzero.evaluate.blind import blind_twin
from speedyzero.evaluate.command import load_agent
from speedyzero.evaluate.evaluator import evaluate
from speedyzero.evaluate.result import EvaluationResult
from speedyzero.evaluate.video import Film
from speedyzero.observe.progress import GamesProgress


def evaluate_checkpoint(
    config: Config,
    run_dir: Path,
    *,
    step: int,
    episodes: int,
    film: Film | None = None,
    blind: bool = False,
    progress: GamesProgress | None = None,
) -> EvaluationResult:
    """Play `episodes` games with the weights of a train step; the score goes to RUN_DIR/scores.json.

    blind: also score the blind twin.
    """
    saved = load_weights(checkpoint_dir(run_dir, step))
    agent = load_agent(config, saved)
    started_s = time.monotonic()
    result = evaluate(
        agent,
        config.env,
        episodes=episodes,
        parallel_envs=config.evaluate.parallel_envs,
        simulations=config.evaluate.num_simulations,
        action=config.evaluate.action,
        film=film,
        progress=progress,
    )
    twin = blind_twin(result, config.env, progress=progress) if blind else None
    record_score(
        run_dir,
        step=step,
        mean=result.mean,
        summary=str(result),
        episodes=episodes,
        env_steps=saved.meta["env_steps"],
        duration_s=round(time.monotonic() - started_s, 2),
        std=result.std,
        ci95=result.ci95,
        human_normalised=result.human_normalised,
        policy_information=result.policy_information,
        blind_twin=None if twin is None else {"mean": twin.mean, "ci95": twin.ci95, "summary": str(twin)},
        protocol=result.protocol,
    )
    return result
