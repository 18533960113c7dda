"""The reanalyzer as a process."""

from __future__ import annotations

from speedyzero.checkpoint.published import Published
from speedyzero.checkpoint.stored import Checkpoint, open_checkpoint
from speedyzero.config import Config
from speedyzero.env.registry import check_game
from speedyzero.model.agent import Agent
from speedyzero.reanalyze.reanalyzer import Reanalyzer, cut_off
from speedyzero.reanalyze.restored import RestoredShard, draws_of, open_log, restore_shard, ticks_of
from speedyzero.reanalyze.saver import ReplaySaver
from speedyzero.replay.shard import Shard
from speedyzero.runtime.role_process import ProcessSpec, RoleProcess, role_process
from speedyzero.runtime.shared_edges import RingReceiver, RingSender, SlotSource
from speedyzero.shm import SharedArrays, WeightSlots
from speedyzero.topology.edges import ReanalyzerEdges
from speedyzero.topology.pacing import Pacing


def main(spec: ProcessSpec, index: int) -> None:
    """Own shard `index` and make batches until the run is stopped. A replacement takes over the shard as it is."""
    config, wiring = spec.config, spec.wiring
    with role_process(spec) as process:
        game = check_game(config.env)
        arrays = SharedArrays.attach(wiring.run, wiring.shards[index], writable=True)
        checkpoint = open_checkpoint(spec.resume.checkpoint) if spec.resume else None
        published = Published.of(checkpoint).targets if checkpoint else ()
        feeds = wiring.feeds_of(shard=index)
        batches = [RingSender(wiring.run, wiring.batches[feed]) for feed in feeds]
        edges = ReanalyzerEdges(
            steps=[RingReceiver(wiring.run, ring) for ring in wiring.steps_into(index)],
            priorities=[RingReceiver(wiring.run, wiring.priorities[feed]) for feed in feeds],
            batches=batches,
            targets=SlotSource(WeightSlots.attach(wiring.run, wiring.targets), before=published),
            weights=SlotSource(WeightSlots.attach(wiring.run, wiring.weights)),
            metrics=process.metrics,
            board=process.board,
        )

        def agent() -> Agent:
            return Agent(config, game.spec, game.num_actions, device=spec.device)

        shard = Shard(wiring.shard_shape, {name: arrays[name] for name in wiring.shard_shape.fields()})
        restored = _restore(process, shard, checkpoint, index) if checkpoint else None
        log = open_log(spec.run_dir, shard, restored, index=index) if config.checkpoint.keep_last else None
        draws_before = draws_of(checkpoint, index) if checkpoint else 0
        reanalyzer = Reanalyzer(
            config,
            edges,
            Pacing.of(config),
            agent(),
            shard,
            newest=agent() if config.refresh.enabled else None,
            following=agent() if fills_ahead(config, spec.device) else None,
            shard_index=index,
            first_draw=draws_before + sum(sender.published for sender in batches),
            log=log,
            resumed_ticks=ticks_of(checkpoint, index) if checkpoint else None,
        )
        if restored is not None:
            reanalyzer.restore(restored.part, train_step=restored.train_step)
            for actor in range(shard.shape.actors):
                cut_off(shard, log, actor=actor)  # games in progress are lost on resume
            process.report_progress("restored", 1)
        _keep(process, reanalyzer, index)


def _keep(process: RoleProcess, reanalyzer: Reanalyzer, index: int) -> None:
    """The loop, saving whenever the learner has taken a snapshot."""
    if reanalyzer.log is None:
        process.loop(reanalyzer)
        return
    saver = ReplaySaver(process, reanalyzer, index=index)
    while not process.stop_requested():
        process.loop(reanalyzer, done=saver.is_wanted)
        if saver.is_wanted():
            saver.save()
    saver.save_last()
    reanalyzer.log.close()


def _restore(process: RoleProcess, shard: Shard, checkpoint: Checkpoint, index: int) -> RestoredShard | None:
    """Restore the shard from the checkpoint; None for a replacement, whose shard is restored already."""
    if process.run_board.counter(process.spec.name, "restored"):
        return None
    shard.ticks[:] = 0  # a predecessor may have died while restoring
    return restore_shard(shard, checkpoint, process.spec.run_dir, index=index)


def fills_ahead(config: Config, device: str) -> bool:
    """Whether searches for the next target network are done ahead."""
    choice = config.reanalyze.ahead
    return choice == "on" or (choice == "auto" and device != "cpu")
