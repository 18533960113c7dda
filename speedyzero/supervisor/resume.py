"""Resume a run: choose the checkpoint, check that it fits and which settings differ, roll the directory back.

Everything is checked before anything is changed: `find_resumable` and `resumed_config` only read. `opened_run` locks
the directory and puts later checkpoints, scores and metrics aside.
"""

import logging
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from speedyzero.checkpoint.manifest import CHECKPOINTS_FOLDER
from speedyzero.checkpoint.scores import forget_scores_after
from speedyzero.checkpoint.store import CheckpointStore
from speedyzero.checkpoint.stored import Checkpoint, newest_valid, open_checkpoint
from speedyzero.config import Config, get
from speedyzero.config.declare import EVALUATION, EXECUTION, LAYOUT, MAY_GROW
from speedyzero.config.documents import load_config, override, read_config_document, save_config
from speedyzero.config.placement import Placement, place
from speedyzero.config.settings import SETTINGS, Given, near, used_as
from speedyzero.env.registry import check_game
from speedyzero.learner.optimizers import build_optimizer
from speedyzero.learner.state import LearnerState
from speedyzero.model.build import build_network
from speedyzero.nodes.share import WHOLE, Share
from speedyzero.nodes.watch import Watch
from speedyzero.observe.metrics import put_aside_after
from speedyzero.observe.run_dir import create_run_dir, run_log
from speedyzero.reanalyze.restored import env_steps_of, replay_part, rows_of
from speedyzero.replay.shard import shard_shape
from speedyzero.runtime.role_process import ResumePoint
from speedyzero.supervisor.saves import Reporter

CONFIG_FILE = "config.yaml"
_NEVER_FITS = re.compile(r"env\.game|model\.|optimizer\.name").match

_log = logging.getLogger("speedyzero.supervisor")


@dataclass(frozen=True)
class Change:
    """A setting that differs from the one the run was saved with."""

    path: str
    now: Any
    saved: Any
    is_edited: bool = False  # in the run's config.yaml

    def __str__(self) -> str:
        edited = f"in {CONFIG_FILE} " if self.is_edited else ""
        return f"{edited}{self.path}={self.now} (the run has {self.saved})"


@dataclass(frozen=True)
class ResumedRun:
    run_dir: Path
    checkpoint: Checkpoint
    changes: tuple[Change, ...]

    @property
    def step(self) -> int:
        return self.checkpoint.step


@dataclass(frozen=True)
class OpenedRun:
    """A run's directory, locked for this process, or another node's own directory below it."""

    run_dir: Path
    store: CheckpointStore | Reporter


def find_resumable(path: Path) -> tuple[Path, Checkpoint]:
    """A run's directory and the checkpoint to resume from, with every byte verified, the replay's too.

    path: a run's directory, for its newest valid checkpoint, or one of its checkpoints. Raises ValueError, in one line.
    """
    try:
        if path.resolve().parent.name == CHECKPOINTS_FOLDER:
            checkpoint = open_checkpoint(path)
            checkpoint.verify()
            return checkpoint.run_dir, checkpoint
        return path, newest_valid(path)
    except (ValueError, OSError) as error:
        raise ValueError(f"--resume {path}: {error}") from error


def resumed_config(
    run_dir: Path,
    checkpoint: Checkpoint,
    given: Mapping[str, Given],
    *,
    force: Collection[str],
    reshard: bool = False,
    share: Share = WHOLE,
) -> tuple[Config, ResumedRun]:
    """The whole run's settings to resume with: its own, overridden by its config.yaml as it is now, then by `given`.

    force: settings that may differ although results change. reshard: layout settings and the number of nodes may
    differ, and the run gets another directory (`reshard.py`). Raises ValueError if others differ, the run is complete,
    or the checkpoint does not fit.
    """
    unknown = [path for path in force if path not in SETTINGS]
    if unknown:
        raise ValueError(f"--force {unknown[0]}: unknown setting{near(unknown[0], SETTINGS)}")
    meta = checkpoint.document("meta")
    saved = read_config_document(meta.get("config"), f"checkpoint {checkpoint.directory}")
    own_directory = {} if reshard else {"run_dir": Given(str(run_dir), "--resume")}
    edited = {path: one for path, one in _edited(run_dir, saved).items() if path not in given}
    config = override(saved, {"run_dir": Given("", "--reshard"), **edited, **given, **own_directory})
    changes = _changes(config, saved, edited)
    _check_changes(changes, force, reshard=reshard)
    nodes = nodes_of(checkpoint)
    if share.nodes != nodes:
        if not reshard:
            raise ValueError(
                f"--resume {run_dir}: a run on {nodes} node{'s' if nodes > 1 else ''}, started on {share.nodes}: start "
                "it on as many, or add --reshard"
            )
        changes.append(Change("nodes", share.nodes, nodes))
    total = config.schedule.total_train_steps
    if checkpoint.step >= total:
        raise ValueError(
            f"{run_dir} is done: train step {checkpoint.step} of {total}; for more give schedule.train_steps= or "
            "schedule.frozen_train_steps="
        )
    check_fits(Share(0, nodes).of(config if not reshard else saved), checkpoint, nodes=nodes)
    return config, ResumedRun(run_dir, checkpoint, tuple(changes))


def nodes_of(checkpoint: Checkpoint) -> int:
    """The nodes that wrote a checkpoint."""
    return checkpoint.document("meta").get("nodes", 1)


def check_fits(config: Config, checkpoint: Checkpoint, *, nodes: int = 1) -> None:
    """Raises ValueError, in one line, if a run with these settings cannot load the checkpoint. config: of each node."""
    game = check_game(config.env)
    shape, shards = shard_shape(config, game.spec, game.num_actions), len(place(config).shards) * nodes
    saved_shards = sum(checkpoint.has_part(replay_part(index)) for index in range(shards + 1))
    if saved_shards != shards:
        at_least = " or more" if saved_shards > shards else ""
        raise ValueError(
            f"{checkpoint.directory} has {saved_shards} shards of replay{at_least}, this run {shards}: set "
            "replay.shards, actor.actors, learner.ranks as they were, or change them with --reshard"
        )
    for index in range(shards):
        rows_of(checkpoint, index).blocks(shape)
    network = build_network(config, game.spec, game.num_actions)
    try:
        LearnerState.of(checkpoint).load_into(network, build_optimizer(config.optimizer, network))
    except ValueError as error:
        raise ValueError(f"checkpoint {checkpoint.directory}: {error}") from error


def resume_point(placement: Placement, checkpoint: Checkpoint, *, share: Share = WHOLE) -> ResumePoint:
    """What the roles of a resumed run receive, on their node."""
    actors, shards = len(placement.actors), len(placement.shards)
    ticks, env_steps = [0] * actors, [0] * actors
    numbers = [share.number(index, of=shards) for index in range(shards)]
    for index, number in enumerate(numbers):  # actor a feeds shard a mod S
        ticks[index::shards] = rows_of(checkpoint, number).ticks
        env_steps[index::shards] = env_steps_of(checkpoint, number)
    draws = tuple(checkpoint.document(replay_part(number))["draws"] for number in numbers)
    return ResumePoint(checkpoint.directory, checkpoint.step, tuple(ticks), tuple(env_steps), draws)


@contextmanager
def opened_run(config: Config, resume: ResumedRun | None, *, nodes: Watch | None = None) -> Iterator[OpenedRun]:
    """The run's directory, created or rolled back to the checkpoint, locked against other writers, its log opened.

    config: of the whole run. nodes: whose directories exist already. Raises ValueError if another process holds the
    lock.
    """
    if nodes is not None and nodes.share.node:
        if resume is not None:
            put_aside_after(nodes.run_dir, resume.step)
        with run_log(nodes.run_dir):
            yield OpenedRun(nodes.run_dir, Reporter(nodes))
        return
    run_dir = nodes.run_dir if nodes else resume.run_dir if resume else new_run_dir(config)
    with CheckpointStore(run_dir) as store, run_log(run_dir):
        if resume is not None:
            go_back(config, resume, store, say=print)
        yield OpenedRun(run_dir, store)


def new_run_dir(config: Config) -> Path:
    """Create a run's directory, with its settings. Raises ValueError if that cannot be."""
    run_dir = create_run_dir(game=config.env.game, preset=config.preset, seed=config.seed, run_dir=config.run_dir)
    save_config(config, run_dir / CONFIG_FILE)
    return run_dir


def last_checkpoint(run_dir: Path) -> Checkpoint | None:
    """The newest valid checkpoint, if there is one."""
    try:
        return find_resumable(run_dir)[1]
    except ValueError as error:
        _log.warning("%s", error)
        return None


def go_back(config: Config, resume: ResumedRun, store: CheckpointStore, *, say: Callable[[str], None]) -> None:
    """Put aside all that is later than the checkpoint, and save the settings as they are now."""
    aside = store.set_aside_after(resume.step)
    forget_scores_after(resume.run_dir, resume.step)
    put_aside = put_aside_after(resume.run_dir, resume.step)
    lines = [
        f"resuming {resume.run_dir} at train step {resume.step}: {len(aside)} later checkpoints and {put_aside} later "
        "metrics put aside",
        *(f"resumed with {change}" for change in resume.changes),
    ]
    for line in lines:
        say(line)
        _log.warning("%s", line)
    save_config(config, resume.run_dir / CONFIG_FILE)


def _edited(run_dir: Path, saved: Config) -> dict[str, Given]:
    """Settings that differ between a run's config.yaml and its checkpoint. Raises ValueError for an invalid file."""
    path = run_dir / CONFIG_FILE
    if not path.is_file():
        return {}
    written = load_config(path)
    differing = (one for one in SETTINGS if one != "run_dir" and get(written, one) != get(saved, one))
    return {one: Given(get(written, one), str(path)) for one in differing}


def _changes(config: Config, saved: Config, edited: Collection[str]) -> list[Change]:
    pairs = ((path, get(config, path), get(saved, path)) for path in SETTINGS)
    return [
        Change(path, now, before, path in edited) for path, now, before in pairs if now != before and path != "run_dir"
    ]


def _check_changes(changes: Collection[Change], force: Collection[str], *, reshard: bool) -> None:
    refused = []
    for change in changes:
        grows = change.path in used_as(MAY_GROW) and change.now >= change.saved
        is_laid_out = reshard and change.path in used_as(LAYOUT)
        if not (grows or is_laid_out or change.path in used_as(EXECUTION | EVALUATION) or change.path in force):
            refused.append(change)
    if refused and all(change.path in used_as(LAYOUT) for change in refused):
        raise ValueError(f"--resume: {'; '.join(map(str, refused))}: add --reshard to resume in another layout")
    if refused:
        paths = [change.path for change in refused]
        remedy = "" if any(map(_NEVER_FITS, paths)) else f", or allow it with --force {' --force '.join(paths)}"
        raise ValueError(f"--resume: {'; '.join(map(str, refused))}: that would be another run; undo it{remedy}")
