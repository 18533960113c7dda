"""A small run of Catch in one process with whole checkpoints, to be damaged, copied and resumed."""

import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from speedyzero.arguments.resolve import resolve
from speedyzero.checkpoint.store import CheckpointStore
from speedyzero.checkpoint.stored import Checkpoint
from speedyzero.config import Config
from speedyzero.config.documents import save_config
from speedyzero.supervisor.inline import InlineCheckpoints, InlineRun, build_run
from speedyzero.supervisor.resume import find_resumable
from tests.faults.inline_runs import advance

SETTINGS = (
    "schedule.env_steps=900 schedule.train_steps=300 schedule.head_start_env_steps=130 actor.envs=8 "
    "learner.batch_size=8 search.num_simulations=2 target.interval_samples=32 "
    "learner.publish_interval_samples=80 model.mlp_hidden=16 "
    "model.mlp_latent=16 model.projector_hidden=16 model.projector_out=16 model.predictor_hidden=16 "
    "checkpoint.keep_last=2"
).split()
OLDER, NEWER = 5, 9  # train steps of its checkpoints


def small_config() -> Config:
    return resolve("catch", "Catch", 0, 0, None, SETTINGS)


def make_small_run(run_dir: Path) -> None:
    """Two checkpoints, and the settings."""
    config = small_config()
    run = build_run(config, run_dir=run_dir)
    save_config(config, run_dir / "config.yaml")
    for step in (OLDER, NEWER):
        advance(run, to_step=step)
        save(run, run_dir)
    run.close()


def save(run: InlineRun, run_dir: Path, struck: Callable[[], AbstractContextManager] = nullcontext) -> list[str]:
    """As training does it, under what strikes it; what the user was told."""
    told: list[str] = []
    with CheckpointStore(run_dir) as store, struck():
        InlineCheckpoints(run, store, note=told.append).save_now()
    return told


def resumed(run_dir: Path, checkpoint: Checkpoint | None = None) -> InlineRun:
    return build_run(small_config(), run_dir=run_dir, checkpoint=checkpoint or find_resumable(run_dir)[1])


def copy_of(run_dir: Path, to: Path) -> Path:
    shutil.rmtree(to, ignore_errors=True)
    shutil.copytree(run_dir, to)
    return to


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
