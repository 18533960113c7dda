"""Stands in for `python -m speedyzero`: leaves what a run leaves, at once, or what befalls it by FAKE_PLAN.

FAKE_PLAN is JSON, what by the name of a run's directory: "crash", "killed" (at half), "interrupt" (its parent, at
half), "unscored" (killed in the final evaluation). The score is random play's plus 1, and 1 more a seed; of Catch 0.1 a
seed, and 0.5 more with Priority Refresh.
"""

import argparse
import json
import os
import signal
import sys
from pathlib import Path

from speedyzero.arguments.resolve import resolve
from speedyzero.checkpoint.manifest import checkpoint_dir, write_manifest
from speedyzero.checkpoint.scores import record_score
from speedyzero.config import Config
from speedyzero.config.documents import load_config, save_config
from speedyzero.evaluate.human_normalised import benchmark_games


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("command", choices=["train", "score"])
    for flag in ("--game", "--preset", "--run-dir", "--resume"):
        parser.add_argument(flag)
    for flag in ("--seed", "--gpus"):
        parser.add_argument(flag, type=int)
    parser.add_argument("--inline", action="store_true")
    parser.add_argument("settings", nargs="*")
    words = parser.parse_intermixed_args()
    run_dir = Path(words.run_dir or words.resume or words.settings[0])
    if not words.run_dir:
        how = "resumed" if words.resume else "scored"
        finish(load_config(run_dir / "config.yaml"), run_dir, how)
        return
    config = resolve(words.preset, words.game, words.seed, words.gpus, words.run_dir, words.settings)
    run_dir.mkdir(parents=True)
    save_config(config, run_dir / "config.yaml")
    befalls(json.loads(os.environ.get("FAKE_PLAN", "{}")).get(run_dir.name), config, run_dir)
    finish(config, run_dir, "begun")


def befalls(what: str | None, config: Config, run_dir: Path) -> None:
    steps = config.schedule.total_train_steps
    if what == "crash":
        print("Traceback (most recent call last):\n  ...\nRuntimeError: the lights went out")
        sys.exit(3)
    if what in ("killed", "interrupt"):
        save(run_dir, steps // 2)
    if what == "unscored":
        save(run_dir, steps)
    if what in ("killed", "unscored"):
        print("on the way", flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "interrupt":
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        os.kill(os.getppid(), signal.SIGINT)
        signal.sigwait({signal.SIGINT})
        sys.exit(130)


def save(run_dir: Path, step: int) -> None:
    directory = checkpoint_dir(run_dir, step)
    directory.mkdir(parents=True)
    write_manifest(directory, {"state.json": {"bytes": 0, "sha256": ""}})


def finish(config: Config, run_dir: Path, how: str) -> None:
    steps, game = config.schedule.total_train_steps, benchmark_games().get(config.env.game)
    score = 0.5 * config.refresh.enabled + 0.1 * config.seed if game is None else game.random + 1 + config.seed
    (run_dir / "how.txt").write_text(how)
    metrics = [  # 30 s of training, and 1 s in which it waited for an evaluation
        ("learner/loss", 0, 1.0, 10.0),
        ("evaluate/mean_score", steps // 2, 0.0, 21.0),
        ("evaluate/training_waited_s", steps // 2, 1.0, 21.0),
        ("learner/loss", steps, 1.0, 31.0),
        ("evaluate/mean_score", steps, score, 35.0),
    ]
    lines = [json.dumps({"step": s, "time_s": t, "name": n, "value": v}) for n, s, v, t in metrics]
    (run_dir / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    systems = [{"commit": "abc", "cpu": "slow", "cores": 2, "gpus": [], "time": time} for time in ("1 pm", "2 pm")]
    (run_dir / "system.json").write_text(json.dumps(systems))
    protocol = {"episodes": config.evaluate.episodes, "truncated_episodes": config.seed}
    record_score(run_dir, step=steps, mean=score, env_steps=config.schedule.env_steps, protocol=protocol)


if __name__ == "__main__":
    main()
