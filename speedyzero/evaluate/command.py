"""`python -m speedyzero evaluate RUN_DIR`: score a run's weights, print and save the result, optionally film a game."""

import contextlib
import time
from pathlib import Path

import torch

from speedyzero.checkpoint.weights_file import SavedWeights
from speedyzero.config import Config
from speedyzero.env.registry import check_game
from speedyzero.evaluate.blind import blind_twin
from speedyzero.evaluate.evaluator import evaluate
from speedyzero.evaluate.result import EvaluationResult
from speedyzero.evaluate.source import find_source
from speedyzero.evaluate.video import Film
from speedyzero.model.agent import Agent
from speedyzero.model.build import build_network
from speedyzero.model.flat import flatten
from speedyzero.model.threads import threads_for
from speedyzero.observe.progress import GamesProgress
from speedyzero.system.atomic_file import write_json

EVALUATIONS_FOLDER = "evaluations"


def evaluate_run(
    run_dir: str | Path,
    episodes: int | None = None,
    video_path: str | Path | None = None,
    action: str | None = None,
    blind: bool = False,
    seed: int = 0,
) -> EvaluationResult:
    """Score the weights of a run or a checkpoint, print the result and save it in evaluations/ of the run.

    episodes, action: as in `evaluate.episodes` and `evaluate.action`; None: the run's own setting. video_path: where to
    film the first episode. blind: also score the blind twin (`blind.py`). seed: of the games.

    Raises ValueError, one line, for anything missing or damaged.
    """
    source = find_source(run_dir)
    config, saved = source.config, source.weights
    agent = load_agent(config, saved)
    started_s = time.monotonic()
    fps = check_game(config.env).frames_per_second
    filmed = contextlib.nullcontext() if video_path is None else Film(video_path, frames_per_second=fps)
    with filmed as film, GamesProgress("evaluation") as progress:
        result = evaluate(
            agent,
            config.env,
            episodes=config.evaluate.episodes if episodes is None else episodes,
            parallel_envs=config.evaluate.parallel_envs,
            simulations=config.evaluate.num_simulations,
            action=config.evaluate.action if action is None else action,
            film=film,
            seed=seed,
            progress=progress,
        )
        twin = blind_twin(result, config.env, progress=progress) if blind else None
    duration_s = time.monotonic() - started_s
    content = {"step": saved.meta["step"], **result.to_json()}
    if twin is not None:
        content["blind_twin"] = twin.to_json()
    kept = _keep(source.results, content)
    print(f"{result.game}, weights of train step {saved.meta['step']}")
    print(f"score     {result}")
    print(
        f"policy    {result.policy_information:.2f} nats of information about the observation (0: one policy for all)"
    )
    if twin is not None:
        print(f"blind     {twin}: random actions at the agent's frequencies")
    print(f"protocol  {describe(result.protocol)}; {duration_s:.0f} s")
    print(f"written   {kept}")
    if film is not None:
        print(f"video     {film.path}, {film.frames} frames")
    return result


def load_agent(config: Config, saved: SavedWeights) -> Agent:
    """An agent with saved weights. Sets torch's threads for the whole process, as training does.

    Raises ValueError if the weights do not fit the run's network.
    """
    game = check_game(config.env)
    torch.set_num_threads(threads_for(config, game.spec))
    network = build_network(config, game.spec, game.num_actions)
    try:
        network.load_state_dict(saved.state)
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise ValueError(f"checkpoint {saved.directory} does not fit this run's network: {reason}") from error
    device = "cuda" if config.gpus and torch.cuda.is_available() else "cpu"
    agent = Agent(config, game.spec, game.num_actions, device=device)
    agent.load(flatten(network), version=saved.meta["step"])
    return agent


def describe(protocol: dict) -> str:
    """An evaluation's protocol in one line."""
    text = (
        f"full games, {protocol['action']} action of {protocol['simulations']} simulations, no root noise, "
        f"raw rewards, evaluation seed {protocol['seed']}"
    )
    if "frame_skip" in protocol:
        text += (
            f", frame skip {protocol['frame_skip']}, sticky actions {protocol['sticky_actions']:g}, "
            f"{protocol['action_set']} actions"
        )
    cut = protocol["truncated_episodes"]
    return f"{text}, {cut} of {protocol['episodes']} cut off by the limit" if cut else text


def _keep(run_dir: Path, content: dict) -> Path:
    """Write a result to a file with the next free number of its step."""
    folder = run_dir / EVALUATIONS_FOLDER
    folder.mkdir(exist_ok=True)
    stem = f"step_{content['step']:09}"
    number = 1 + sum(1 for entry in folder.iterdir() if entry.name.startswith(stem))
    while (path := folder / f"{stem}-{number:03}.json").exists():
        number += 1
    write_json(path, content)
    return path
