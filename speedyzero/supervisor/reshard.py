"""Resume a run in another layout: other numbers of GPUs, actors, environments, shards or learners.

    checkpoint of the old run -> its shards -> rows dealt to the new shards -> a checkpoint of a new run

The new run has its own directory, which begins with the old metrics up to the checkpoint; the old run is not changed.
The new checkpoint's manifest is written last, so an interrupted reshard leaves nothing to resume from. Meanwhile the
replay is held twice in memory.

Kept: network, optimiser, schedules, counters, target lag, replay with its priorities. Not kept: unfinished games, the
target network's cached searches, the sweep of priorities, scores and weights of older steps.
"""

import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from speedyzero.checkpoint.published import PART as PUBLISHED_PART
from speedyzero.checkpoint.redistribute import Dealt, redistribute
from speedyzero.checkpoint.replay_log import ReplayLog
from speedyzero.checkpoint.snapshot import Snapshot, take_snapshot
from speedyzero.checkpoint.store import CheckpointStore
from speedyzero.checkpoint.stored import Checkpoint
from speedyzero.config import Config
from speedyzero.config.declare import LAYOUT
from speedyzero.config.documents import config_document, read_config_document
from speedyzero.config.placement import place
from speedyzero.config.settings import used_as
from speedyzero.env.registry import check_game
from speedyzero.learner.state import PART as LEARNER_PART
from speedyzero.observe.metrics import METRICS_FILE
from speedyzero.observe.run_dir import create_run_dir
from speedyzero.reanalyze.restored import env_steps_of, replay_part, restore_shard
from speedyzero.replay.kept_priorities import kept_priorities
from speedyzero.replay.shard import Shard, shard_shape
from speedyzero.supervisor.resume import ResumedRun, find_resumable
from speedyzero.topology.role_state import RoleState


@dataclass(frozen=True)
class Reshard:
    """A run to resume in another layout, checked."""

    config: Config
    source: ResumedRun

    def described(self) -> str:
        """The changes, for printing."""
        saved = _saved_config(self.source.checkpoint)
        changed = ", ".join(str(change) for change in self.source.changes if change.path in used_as(LAYOUT))
        return f"reshard      {changed}\n             {_layout(saved)} become {_layout(self.config)}"


def check_reshard(config: Config, source: ResumedRun) -> Reshard:
    """Raises ValueError if no layout setting differs, or the new shards have no room for a lookahead."""
    if not any(change.path in used_as(LAYOUT) for change in source.changes):
        raise ValueError(
            "--reshard: the layout is the run's own already; give what is to change, as actor.envs=16 replay.shards=2 "
            "learner.ranks=2 --gpus 2, or leave --reshard out"
        )
    game = check_game(config.env)
    shard_shape(config, game.spec, game.num_actions)
    return Reshard(config, source)


def carry_out(reshard: Reshard) -> tuple[Config, ResumedRun]:
    """Create the new run's directory; returns its settings and what to resume. Prints what became of the replay.

    Raises ValueError if the replay is too small for the new lanes or the directory cannot be created, OSError if a
    write fails.
    """
    config, source = reshard.config, reshard.source
    print(reshard.described(), flush=True)
    run_dir = create_run_dir(game=config.env.game, preset=config.preset, seed=config.seed, run_dir=config.run_dir)
    config = replace(config, run_dir=str(run_dir))
    shards, dealt = _dealt(config, source)
    metrics = source.run_dir / METRICS_FILE
    if metrics.exists():
        shutil.copyfile(metrics, run_dir / METRICS_FILE)
    with CheckpointStore(run_dir) as store:
        store.write(_snapshot(config, source.checkpoint, run_dir, shards))
    print(_result(dealt, source, run_dir), flush=True)
    return config, ResumedRun(run_dir, find_resumable(run_dir)[1], source.changes)


def _dealt(config: Config, source: ResumedRun) -> tuple[list[Shard], Dealt]:
    """The new run's shards, filled."""
    game, saved = check_game(config.env), _saved_config(source.checkpoint)
    old_shape, shape = (shard_shape(one, game.spec, game.num_actions) for one in (saved, config))
    old = [Shard(old_shape) for _ in place(saved).shards]
    for index, shard in enumerate(old):
        restore_shard(shard, source.checkpoint, index=index)
    new = [Shard(shape) for _ in place(config).shards]
    dealt = redistribute(old, new)
    all_steps = sum(sum(env_steps_of(source.checkpoint, index)) for index in range(len(old)))
    placement = place(config)
    for index, shard in enumerate(new):
        for own, actor in enumerate(placement.actors_of(index)):
            shard.env_steps[own] = _share(all_steps, actor, len(placement.actors))
    return new, dealt


def _share(total: int, index: int, count: int) -> int:
    """One of `count` integers that add up to `total`."""
    return total * (index + 1) // count - total * index // count


def _snapshot(config: Config, checkpoint: Checkpoint, run_dir: Path, shards: list[Shard]) -> Snapshot:
    """The old checkpoint with the new replay, whose rows are written to the new run's directory."""
    meta = checkpoint.document("meta") | {"config": config_document(config)}
    parts = {name: checkpoint.part(name) for name in (LEARNER_PART, PUBLISHED_PART)}
    old = [checkpoint.document(replay_part(index)) for index in range(len(place(_saved_config(checkpoint)).shards))]
    draws = max(one["draws"] for one in old)
    for index, shard in enumerate(shards):
        with ReplayLog(run_dir, shard, index=index) as log:
            written = log.sync()
        document = {
            "rows": log.description(),
            "env_steps": [shard.env_steps_of(actor) for actor in range(shard.shape.actors)],
            "draws": draws,
            "target_version": -1,  # cached searches are not moved
            "searches": [sum(one["searches"][kind] for one in old) if index == 0 else 0 for kind in (0, 1)],
            "next_record": old[0]["next_record"],
            "refresh": None,
        }
        parts[replay_part(index)] = RoleState(document, kept_priorities(shard), written)
    state = {"train_steps": checkpoint.step, "mode": "resharded"}
    return take_snapshot(meta=meta, weights=checkpoint.tensors("weights"), state=state, parts=parts)


def _saved_config(checkpoint: Checkpoint) -> Config:
    return read_config_document(checkpoint.document("meta").get("config"), f"checkpoint {checkpoint.directory}")


def _layout(config: Config) -> str:
    placement = place(config)
    actors, shards, learners = len(placement.actors), len(placement.shards), len(placement.learners)
    return (
        f"{config.gpus} GPUs, {actors} actors of {config.actor.envs} environments, {shards} shards, {learners} learners"
    )


def _result(dealt: Dealt, source: ResumedRun, run_dir: Path) -> str:
    return (
        f"             {dealt.kept:,} positions kept, {dealt.rows_per_lane:,} in each lane; {dealt.given_up:,} oldest "
        f"dropped; {dealt.cuts:,} games cut\n"
        f"             {source.run_dir} is not changed; the run continues in {run_dir}"
    )
