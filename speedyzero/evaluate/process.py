"""The evaluator process: scores one checkpoint and exits."""

import os
from pathlib import Path

from speedyzero.config import Config
from speedyzero.evaluate.checkpointed import evaluate_checkpoint
from speedyzero.system.prctl import set_title

NICE = 10  # a score may be late; training must not be


def main(config: Config, run_dir: Path, step: int) -> None:
    set_title("evaluator")
    os.nice(NICE)
    evaluate_checkpoint(config, run_dir, step=step, episodes=config.evaluate.interval_episodes)
