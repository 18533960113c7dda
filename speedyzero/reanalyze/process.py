"""The reanalyzer as a process."""

from pathlib import Path

from speedyzero.checkpoint.published import Published
from speedyzero.checkpoint.stored import Checkpoint, open_checkpoint
from speedyzero.config import Config
from speedyzero.config.placement import place
from speedyzero.env.registry import check_game
from speedyzero.model.agent import Agent
from speedyzero.nodes.share import WHOLE, Share
from speedyzero.reanalyze.reanalyzer import Reanalyzer, cut_off
from speedyzero.reanalyze.restored import open_log, restore_shard
from speedyzero.reanalyze.saver import ReplaySaver
from speedyzero.replay.shard import Shard
from speedyzero.runtime.role_process import ProcessSpec, ResumePoint, RoleProcess, role_process
from speedyzero.topology.edges import ReanalyzerEdges
from speedyzero.topology.pacing import Pacing


def main(spec: ProcessSpec, index: int) -> None:
    """Own shard `index` and make batches until the run is stopped. A replacement takes over the shard as it is."""
    config = spec.config
    with role_process(spec) as process:
        # A replacement finds its shard restored, and perhaps the checkpoint deleted.
        is_restored = bool(process.run_board.counter(spec.name, "restored"))
        checkpoint = open_checkpoint(spec.resume.checkpoint) if spec.resume and not is_restored else None
        reanalyzer = build_reanalyzer(
            config,
            process.ends(ReanalyzerEdges, before=Published.of(checkpoint).targets if checkpoint else ()),
            process.shard(index, writable=True),
            device=spec.device,
            index=index,
            run_dir=spec.shared_dir if config.checkpoint.keep_last else None,
            point=spec.resume,
            checkpoint=checkpoint,
            share=spec.launch.share,
        )
        if checkpoint is not None:
            process.report_progress("restored", 1)
        _keep(process, reanalyzer, index)


def build_reanalyzer(
    config: Config,
    edges: ReanalyzerEdges,
    shard: Shard,
    *,
    device: str,
    index: int = 0,
    run_dir: Path | None = None,
    point: ResumePoint | None = None,
    checkpoint: Checkpoint | None = None,
    share: Share = WHOLE,
    keeps_games: bool = False,
) -> Reanalyzer:
    """The reanalyzer of a node's shard `index`, of a run as processes or inline.

    run_dir: where the replay is logged; None: nowhere. point: where the run was resumed. checkpoint: of that point;
    None for a replacement, whose shard has its rows already. keeps_games: games in progress continue; otherwise they
    are cut off.
    """
    game = check_game(config.env)
    restored, number = None, share.number(index, of=len(place(config).shards))
    if checkpoint is not None:
        shard.ticks[:] = 0  # a predecessor may have died while restoring
        restored = restore_shard(shard, checkpoint, index=number)
    log = open_log(run_dir, shard, restored, index=number) if run_dir is not None else None

    def agent() -> Agent:
        return Agent(config, game.spec, game.num_actions, device=device)

    draws_before = point.draws[index] if point else 0
    reanalyzer = Reanalyzer(
        config,
        edges,
        Pacing.of(config),
        agent(),
        shard,
        newest=agent() if config.refresh.enabled else None,
        following=agent() if fills_ahead(config, device) else None,
        shard_index=index,
        share=share,
        first_draw=draws_before + sum(sender.published for sender in edges.batches),
        log=log,
        resumed_ticks=point.ticks[index :: len(point.draws)] if point else None,
    )
    if restored is not None:
        reanalyzer.restore(restored.part, train_step=restored.train_step)
        for actor in range(0 if keeps_games else shard.shape.actors):
            cut_off(shard, log, actor=actor)
    return reanalyzer


def _keep(process: RoleProcess, reanalyzer: Reanalyzer, index: int) -> None:
    """The loop, saving whenever the learner has taken a snapshot."""
    if reanalyzer.log is None:
        process.loop(reanalyzer)
        return
    share, shards = process.spec.launch.share, len(process.spec.wiring.placement.shards)
    saver = ReplaySaver(process, reanalyzer, number=share.number(index, of=shards))
    while not process.stop_requested():
        process.loop(reanalyzer, done=saver.is_wanted)
        if saver.is_wanted():
            saver.save()
    saver.save_last()
    reanalyzer.log.close()


def fills_ahead(config: Config, device: str) -> bool:
    """Whether searches for the next target network are done ahead."""
    choice = config.reanalyze.ahead
    return choice == "on" or (choice == "auto" and device != "cpu")
