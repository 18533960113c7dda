"""Resume a run in another layout: other numbers of nodes, GPUs, actors, environments, shards or learners.

    checkpoint of the old run -> its shards -> rows dealt to the new shards -> a checkpoint of a new run

The new run has its own directory, which begins with the old metrics up to the checkpoint; the old run is not changed.
The new checkpoint's manifest is written last, so an interrupted reshard leaves nothing to resume from. Meanwhile the
replay is held twice in memory, of all nodes by the first.

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
from speedyzero.nodes.share import Share
from speedyzero.observe.metrics import METRICS_FILE
from speedyzero.observe.run_dir import create_run_dir
from speedyzero.reanalyze.restored import env_steps_of, replay_part, restore_shard
from speedyzero.replay.kept_priorities import kept_priorities
from speedyzero.replay.shard import Shard, shard_shape
from speedyzero.supervisor.resume import Change, ResumedRun, find_resumable, nodes_of
from speedyzero.topology.role_state import RoleState


@dataclass(frozen=True)
class Reshard:
    """A run to resume in another layout, checked. config: of the whole run. nodes: that it will have."""

    config: Config
    source: ResumedRun
    nodes: int = 1

    def described(self) -> str:
        """The changes, for printing."""
        source = self.source
        saved = _layout(_saved_config(source.checkpoint), nodes_of(source.checkpoint))
        changed = ", ".join(str(change) for change in source.changes if _is_of_layout(change))
        return f"reshard      {changed}\n             {saved} become {_layout(self.config, self.nodes)}"


def check_reshard(config: Config, source: ResumedRun, *, nodes: int = 1) -> Reshard:
    """Raises ValueError if no layout setting differs, or the new shards have no room for a lookahead."""
    if not any(map(_is_of_layout, source.changes)):
        raise ValueError(
            "--reshard: the layout is the run's own already; give what is to change, as actor.envs=16 replay.shards=2 "
            "learner.ranks=2 --gpus 2, or leave --reshard out"
        )
    game = check_game(config.env)
    shard_shape(Share(0, nodes).of(config), game.spec, game.num_actions)
    return Reshard(config, source, nodes)


def carry_out(reshard: Reshard) -> tuple[Config, ResumedRun]:
    """Create the new run's directory; returns its settings and what to resume. Prints what became of the replay.

    Raises ValueError if the replay is too small for the new lanes or the directory cannot be created, OSError if a
    write fails.
    """
    config, source = reshard.config, reshard.source
    print(reshard.described(), flush=True)
    run_dir = create_run_dir(game=config.env.game, preset=config.preset, seed=config.seed, run_dir=config.run_dir)
    config = replace(config, run_dir=str(run_dir))
    shards, dealt = _dealt(config, source.checkpoint, reshard.nodes)
    metrics = source.run_dir / METRICS_FILE
    if metrics.exists():
        shutil.copyfile(metrics, run_dir / METRICS_FILE)
    with CheckpointStore(run_dir) as store:
        store.write(_snapshot(config, source.checkpoint, run_dir, shards, nodes=reshard.nodes))
    print(_result(dealt, source, run_dir), flush=True)
    return config, ResumedRun(run_dir, find_resumable(run_dir)[1], source.changes)


def _dealt(config: Config, checkpoint: Checkpoint, nodes: int) -> tuple[list[Shard], Dealt]:
    """The new run's shards, those of all nodes, filled."""
    old = _empty_shards(_saved_config(checkpoint), nodes_of(checkpoint))
    for index, shard in enumerate(old):
        restore_shard(shard, checkpoint, index=index)
    new = _empty_shards(config, nodes)
    dealt = redistribute(old, new)
    all_steps = sum(sum(env_steps_of(checkpoint, index)) for index in range(len(old)))
    placement = place(config)
    actors, shards = len(placement.actors), len(placement.shards)
    for index, shard in enumerate(new):
        share = Share(index // shards, nodes)
        for own, actor in enumerate(placement.actors_of(index % shards)):
            shard.env_steps[own] = _part(all_steps, share.number(actor, of=actors), actors * nodes)
    return new, dealt


def _empty_shards(config: Config, nodes: int) -> list[Shard]:
    """Of all nodes, by their numbers. config: of the whole run."""
    game, own = check_game(config.env), Share(0, nodes).of(config)
    shape = shard_shape(own, game.spec, game.num_actions)
    return [Shard(shape) for _ in range(nodes * len(place(own).shards))]


def _part(total: int, index: int, count: int) -> int:
    """One of `count` integers that add up to `total`."""
    return total * (index + 1) // count - total * index // count


def _snapshot(config: Config, checkpoint: Checkpoint, run_dir: Path, shards: list[Shard], *, nodes: int) -> Snapshot:
    """The old checkpoint with the new replay, whose rows are written to the new run's directory."""
    meta = checkpoint.document("meta") | {"config": config_document(config), "nodes": nodes}
    parts = {name: checkpoint.part(name) for name in (LEARNER_PART, PUBLISHED_PART)}
    old_shards = len(place(_saved_config(checkpoint)).shards) * nodes_of(checkpoint)
    old = [checkpoint.document(replay_part(index)) for index in range(old_shards)]
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


def _is_of_layout(change: Change) -> bool:
    return change.path in ("nodes", *used_as(LAYOUT))


def _layout(config: Config, nodes: int) -> str:
    placement = place(config)
    actors, shards, learners = len(placement.actors), len(placement.shards), len(placement.learners)
    several = f"{nodes} nodes of " if nodes > 1 else ""
    return (
        f"{several}{config.gpus} GPUs, {actors} actors of {config.actor.envs} environments, {shards} shards, "
        f"{learners} learners"
    )


def _result(dealt: Dealt, source: ResumedRun, run_dir: Path) -> str:
    return (
        f"             {dealt.kept:,} positions kept, {dealt.rows_per_lane:,} in each lane; {dealt.given_up:,} oldest "
        f"dropped; {dealt.cuts:,} games cut\n"
        f"             {source.run_dir} is not changed; the run continues in {run_dir}"
    )
